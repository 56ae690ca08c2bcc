"""The stored message: the contents of a mailbox after a case, compared with the message that the client sent."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace

from lmtpref.check.results import CaseVerdict, Result
from lmtpref.check.usage import unstuffed
from lmtpref.protocol.errors import TranscriptError, UsageError
from lmtpref.protocol.peer_error import PeerError
from lmtpref.protocol.printable import printable
from lmtpref.protocol.syntax import parse_bdat
from lmtpref.transcripts.notation import Transcript, parse
from lmtpref.transcripts.script_frames import Frame, frames

STORED = "stored"  # the need of a case whose clause is visible only in a mailbox
UNSEEN = "the stored message cannot be seen without --store-command"
STORE_SECONDS = 10.0  # for the command to print a message
_RECIPIENT = "{recipient}"

# Return the newest message in the mailbox of an address; raises OSError if it cannot be read.
MessageStore = Callable[[str], bytes]


def command_store(command: str) -> MessageStore:
    """Return a store that runs `command`, with `{recipient}` replaced, and reads its output.

    Raises UsageError: if the command has invalid shell quoting, or no word with `{recipient}`.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"the command cannot be read: {error}: {command!r}") from None
    if not any(_RECIPIENT in word for word in words):
        raise UsageError(f"--store-command needs {_RECIPIENT}, which stands for the address of the mailbox")

    def newest(recipient: str) -> bytes:
        filled = [word.replace(_RECIPIENT, recipient) for word in words]
        try:
            done = subprocess.run(filled, stdin=subprocess.DEVNULL, capture_output=True, timeout=STORE_SECONDS, check=False)  # noqa: S603 - the user's own command
        except subprocess.TimeoutExpired:
            raise OSError(f"--store-command printed nothing within {STORE_SECONDS:g} s") from None
        if done.returncode:
            raise OSError(f"--store-command ended with {done.returncode} for {recipient}")
        return done.stdout

    return newest


def look(result: Result, store: MessageStore) -> Result:
    """Return `result`, or a failure if an accepted message is not stored as it was sent."""
    try:
        sent = dict(deliveries(parse(result.wire)))
        for recipient, content in sent.items():
            if difference := _difference(content, store(recipient)):
                reason = f"the message stored for {recipient} is not the one that was sent"
                return replace(result, verdict=CaseVerdict.FAIL, reason=reason, got=f"{reason}\n{difference}")
    except (PeerError, TranscriptError):
        return result  # after a conversation out of sync, the content means nothing
    except OSError as error:
        return replace(result, verdict=CaseVerdict.ERROR, reason=str(error))
    return result


def deliveries(transcript: Transcript) -> Iterator[tuple[str, bytes]]:
    """Yield each recipient whose message was accepted, with the content that the client sent."""
    recipients: list[str] = []
    content, verb, left = b"", "", 0
    for frame in frames(transcript):
        verb = frame.verb or verb
        if frame.verb == "RCPT" and _codes(frame)[:1] == [b"2"]:
            recipients.append(frame.octets.partition(b"<")[2].partition(b">")[0].decode("utf-8", "replace"))
        elif frame.verb == "BDAT":
            left, *_ = parse_bdat(frame.octets.removesuffix(b"\r\n").partition(b" ")[2].decode("utf-8", "surrogateescape"))
        elif frame.kind == "content":
            # A recording does not separate a chunk from a command that follows it in the same write.
            content += frame.octets if verb == "DATA" else frame.octets[:left]
            left = max(0, left - len(frame.octets))
        if frame.due == "each":
            sent = unstuffed(content) if verb == "DATA" else content
            yield from ((recipient, sent) for recipient, code in zip(recipients, _codes(frame), strict=False) if code == b"2")
        if frame.due == "each" or frame.verb in {"MAIL", "RSET", "LHLO"}:
            recipients, content = [], b""


def _codes(frame: Frame) -> list[bytes]:
    """Return the first digit of each reply."""
    return [line.octets[:1] for line in frame.replies if line.what == "say" and line.octets[3:4] != b"-"]


def _difference(sent: bytes, stored: bytes) -> str:
    """Return how the end of `stored` differs from `sent`; a server may add lines above, and use its system's line ends."""
    expected, came = (octets.replace(b"\r\n", b"\n").rstrip(b"\n") for octets in (sent, stored))
    if not expected or (b"\n" + came).endswith(b"\n" + expected):
        return ""
    lines = expected.split(b"\n")
    kept = came.split(b"\n")[-len(lines) :]
    wrong = next(((one, other) for one, other in zip(lines, kept, strict=False) if one != other), (lines[0], kept[0]))
    return "\n".join(f"  {word:<9} {_text(line)}" for word, line in zip(("sent", "stored"), wrong, strict=True))


def _text(line: bytes) -> str:
    return printable(line.decode("utf-8", "backslashreplace"))
