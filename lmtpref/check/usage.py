"""The extensions, addresses and messages that a transcript uses."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lmtpref.transcripts.notation import Line, Transcript
from lmtpref.transcripts.opening import opened
from lmtpref.transcripts.script_frames import Frame, frames

END_OF_MESSAGE = "."  # stands for the end of a message in `accept` and in faults
_PATH = re.compile(rb"<([^>]*)>")
_ROUTE = re.compile(r"@[^:]*:")
_SYNTAX_ERRORS = {b"500", b"501", b"503", b"555"}  # replies to RCPT without a look-up of the address


def extensions(transcript: Transcript) -> frozenset[str]:
    """Return the keywords of the extensions that the client of `transcript` uses."""
    groups: dict[int, list[Frame]] = {}
    used: set[str] = set()
    for frame in frames(transcript):
        groups.setdefault(frame.group, []).append(frame)
        used |= _of_command(frame)
    if any(_is_pipelined(group) for group in groups.values()):
        used.add("PIPELINING")
    return frozenset(used)


def recipients(transcript: Transcript) -> tuple[str, ...]:
    """Return the addresses that the server should accept as recipients, in their order."""
    return tuple(dict.fromkeys(address for address, code in _rcpts(transcript) if code[:1] == b"2"))


def rejected(transcript: Transcript) -> tuple[str, ...]:
    """Return the addresses that the server should look up and reject, in their order."""
    codes = [(address, code) for address, code in _rcpts(transcript) if code[:1] in {b"4", b"5"}]
    return tuple(dict.fromkeys(address for address, code in codes if code not in _SYNTAX_ERRORS))


def messages(transcript: Transcript) -> int:
    """Return how many messages a server that follows `transcript` accepts for at least one recipient."""
    return sum(_ends_message(frame) and any(line.octets[:1] == b"2" for line in frame.replies) for frame in frames(transcript))


def answered(transcript: Transcript) -> dict[int, str]:
    """Return the verb that each reply answers, by the number of the reply's first line.

    It is `.` for the replies after a message, and empty for the greeting and for a line that is not a command.
    """
    return {line.number: _verb(frame) for frame in frames(opened(transcript)) for line in frame.replies if line.what == "say"}


def command_lines(transcript: Transcript) -> Iterator[Line]:
    """Yield the lines that are commands, without message content."""
    for frame in frames(transcript):
        if frame.kind == "command":
            yield from frame.lines


def unstuffed(octets: bytes) -> bytes:
    """Return the content that DATA and the final dot enclose, without the dots that the client added (RFC 5321 section 4.5.2)."""
    lines = octets.removesuffix(b".\r\n").split(b"\r\n")
    return b"\r\n".join(line.removeprefix(b".") for line in lines)


def _verb(frame: Frame) -> str:
    if _ends_message(frame):
        return END_OF_MESSAGE
    return "BDAT" if frame.kind == "content" else frame.verb


def _ends_message(frame: Frame) -> bool:
    return frame.due == "each"


def _of_command(frame: Frame) -> set[str]:
    if frame.kind != "command":
        return set()
    parameters = {parameter.partition(b"=")[0]: parameter for parameter in frame.octets.upper().rpartition(b">")[2].split()}
    used = {"BDAT": {"CHUNKING"}, "XFORWARD": {"XFORWARD"}}.get(frame.verb, set())
    if frame.verb in {"MAIL", "RCPT"}:
        names = {b"BODY": "8BITMIME", b"SIZE": "SIZE", b"SMTPUTF8": "SMTPUTF8"}
        used = used | {names[parameter] for parameter in parameters if parameter in names}
    if parameters.get(b"BODY") == b"BODY=BINARYMIME":
        used = used | {"BINARYMIME", "CHUNKING"}
    return used | ({"SMTPUTF8"} if frame.verb == "VRFY" and b"SMTPUTF8" in parameters else set())


def _is_pipelined(group: list[Frame]) -> bool:
    """Return whether a write of the client contains a command and other octets."""
    is_one_chunk = len(group) == 2 and group[0].verb == "BDAT" and group[1].kind == "content"
    return len(group) > 1 and not is_one_chunk and any(frame.kind == "command" for frame in group)


def _rcpts(transcript: Transcript) -> Iterator[tuple[str, bytes]]:
    for frame in frames(transcript):
        if frame.verb == "RCPT" and frame.replies and (path := _PATH.search(frame.octets)):
            yield _ROUTE.sub("", path[1].decode("utf-8", "replace"), count=1), frame.replies[0].octets[:3]
