"""Tests of clients: a mock server for each transcript, and a client program that sends one message to it."""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Thread
from typing import Protocol

from lmtpref.check.cases import Case
from lmtpref.check.results import CaseVerdict, Result
from lmtpref.check.target import signals_deferred
from lmtpref.check.usage import unstuffed
from lmtpref.protocol.errors import TranscriptError, UsageError
from lmtpref.protocol.peer_error import PeerError
from lmtpref.protocol.syntax import parse_mail, parse_rcpt, split_verb
from lmtpref.transcripts.notation import Transcript
from lmtpref.transcripts.script import Script
from lmtpref.transcripts.script_frames import frames

_PLAIN = b"Message-ID: <aardvark>\r\n\r\nHello.\r\n"  # for a transcript that rejects the message before its content
_OWN = frozenset({"SIZE", "BODY", "SMTPUTF8"})  # parameters that a client derives from the message
_CHUNKING = "3030"
_ENDING_SECONDS = 5.0  # for a client to end after the conversation


@dataclass(frozen=True, slots=True)
class MessageToSend:
    """The message that a client is to send, with its envelope."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes


class PlaysScript(Protocol):
    """A server that plays a script to one client; `lmtpref.testing` has it."""

    address: str

    def play(self, seconds: float) -> None:
        """Wait for a client, and play the script to it."""

    def stop(self) -> None:
        """Make `play` return as soon as no more octets are waiting."""


def run(cases: Iterable[Case], command: str, serve: Callable[[Script], PlaysScript], *, seconds: float) -> Iterator[Result]:
    """Yield a result for each of `cases`: start `command` to send the message of the transcript.

    In the command `{host}`, `{port}`, `{sender}`, `{recipients}` with commas, and `{message}`, a file, are replaced.  A word with
    `{recipient}` is repeated for each recipient; the message is also on standard input.  Raises UsageError for an empty
    command, or one with invalid shell quoting.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"the command cannot be read: {error}: {command!r}") from None
    if not words:
        raise UsageError("the command is empty")
    for case in cases:
        yield _played(case, words, serve, seconds)


def message(transcript: Transcript) -> MessageToSend | None:
    """Return the one message that a client sends in `transcript`; None if a command line cannot describe it."""
    senders: list[str] = []
    recipients: list[str] = []
    content = _PLAIN
    for frame in frames(transcript):
        if frame.kind == "content":
            content = unstuffed(frame.octets)
        elif frame.kind == "command":
            verb, argument = split_verb(frame.octets.decode("utf-8", "surrogateescape").removesuffix("\r\n"))
            if verb == "MAIL":
                path, parameters = parse_mail(argument)
                senders.append(str(path or ""))
                if not parameters.keys() <= _OWN:
                    return None
            elif verb == "RCPT":
                recipients.append(str(parse_rcpt(argument)[0]))
            elif verb not in {"LHLO", "DATA", "RSET", "QUIT"}:
                return None
    return MessageToSend(senders[0], tuple(recipients), content) if len(senders) == 1 and recipients else None


def _played(case: Case, words: list[str], serve: Callable[[Script], PlaysScript], seconds: float) -> Result:
    result = Result(case.id, case.page, case.line, case.strength, case.requirements, CaseVerdict.SKIPPED)
    if any(requirement.rfc == _CHUNKING for requirement in case.requirements):
        return replace(result, reason="about BDAT, which a client need not use")
    relaxed = replace(case.transcript, heads=tuple(head for head in case.transcript.heads if head.key != "match"))
    try:
        sent, script = message(relaxed), Script(relaxed)
    except (PeerError, TranscriptError):
        sent = None
    if sent is None:
        return replace(result, reason="a command line cannot say what the client is to do")
    try:
        _converse(serve(script), words, sent, seconds)
    except OSError as error:
        return replace(result, verdict=CaseVerdict.ERROR, reason=f"the client cannot be started: {error}")
    if script.verdict == "played":
        return replace(result, verdict=CaseVerdict.PASS)
    problem = script.explain()
    if script.verdict == "unstarted":
        return replace(result, verdict=CaseVerdict.ERROR, reason="the client sent nothing", got=problem)
    verdict = CaseVerdict.FAIL if case.strength == "MUST" else CaseVerdict.NON_STRICT
    return replace(result, verdict=verdict, reason=problem.partition("\n")[0], got=problem)


def _converse(server: PlaysScript, words: list[str], sent: MessageToSend, seconds: float) -> None:
    """Start the client, and play the script to it."""
    host, _, port = server.address.rpartition(":")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "message")
        file.write_bytes(sent.content)
        values = {
            "{recipients}": ",".join(sent.recipients),
            "{host}": host,
            "{port}": port,
            "{sender}": sent.sender,
            "{message}": str(file),
        }
        command = list(_filled(words, values, sent.recipients))
        with contextlib.ExitStack() as ending:
            with file.open("rb") as content, signals_deferred():
                client = subprocess.Popen(command, stdin=content, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603 - the user's own command
                watcher = Thread(target=_stop_after_failure, args=[client, server])
                watcher.start()
                ending.callback(watcher.join)
                ending.callback(_end, client)
            server.play(seconds)


def _stop_after_failure(client: subprocess.Popen[bytes], server: PlaysScript) -> None:
    """Stop the server when the client has ended with an error; otherwise it may have left the message to another program."""
    if client.wait():
        server.stop()


def _filled(words: list[str], values: dict[str, str], recipients: tuple[str, ...]) -> Iterator[str]:
    for word in words:
        for recipient in recipients if "{recipient}" in word else ("",):
            filled = word.replace("{recipient}", recipient)
            for name, value in values.items():
                filled = filled.replace(name, value)
            yield filled


def _end(client: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        client.wait(_ENDING_SECONDS)
        return
    client.kill()
    client.wait()
