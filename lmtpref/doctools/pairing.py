"""The pairing of final replies with accepted recipients in a transcript."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from lmtpref.transcripts.notation import Line, Step, Transcript

_END_OF_DATA = "end of data"
_BDAT = re.compile(r"BDAT +(\d+)( +LAST)?", re.IGNORECASE)
_RESET = ("MAIL", "RSET", "LHLO", "STARTTLS")


@dataclass(frozen=True, slots=True)
class Tie:
    """A line that belongs to an accepted recipient: `recipient` counts from 1, `final` marks a reply after the end of data."""

    recipient: int
    of: int
    final: bool = False


@dataclass(slots=True)
class _Transaction:
    rcpts: int = 0  # answered in any way
    accepted: list[tuple[int, int]] = field(default_factory=list)  # the lines of the RCPT and of its reply
    final: list[int] = field(default_factory=list)  # the lines of the final replies

    def ties(self) -> Iterator[tuple[int, Tie]]:
        of = len(self.accepted)
        for number, lines in enumerate(self.accepted, 1):
            yield from ((line, Tie(number, of)) for line in lines)
        yield from ((line, Tie(number, of, final=True)) for number, line in enumerate(self.final, 1))


@dataclass(frozen=True, slots=True)
class Pairs:
    """The ties of a transcript by line number, and the lines that require a reply."""

    ties: dict[int, Tie]
    requests: tuple[int, ...]


def pair(transcript: Transcript) -> Pairs:
    """Pair the final replies of `transcript` with its recipients.

    A transaction with one RCPT has no ties, because it is unambiguous.
    """
    reader = _Reader()
    for step in transcript.steps:
        reader.read(step)
    several = (transaction for transaction in reader.transactions if transaction.rcpts > 1)
    ties = {line: tie for transaction in several for line, tie in transaction.ties()}
    return Pairs(ties, tuple(reader.requests))


class _Reader:
    """The state of a transcript while it is read from its beginning: the open commands, and the transaction."""

    def __init__(self) -> None:
        self.transactions = [_Transaction()]
        self.requests: list[int] = []
        self._open: deque[tuple[str, int]] = deque()
        self._in_data = False
        self._chunk_octets = 0  # of the present chunk, still to come

    def read(self, step: Step) -> None:
        if step.what != "say":
            return
        if step.who == "S":
            self._reply(step)
            return
        for line in step.lines:
            for octets in line.octets.splitlines(keepends=True):
                self._sent(line, octets)

    def _sent(self, line: Line, octets: bytes) -> None:
        if self._chunk_octets:
            self._chunk_octets = max(0, self._chunk_octets - len(octets))
        elif self._in_data:
            if octets == b".\r\n":
                self._in_data = False
                self._request(_END_OF_DATA, line.number)
        else:
            self._command(line.number, octets.decode(errors="replace"))

    def _command(self, number: int, text: str) -> None:
        verb = text.split(maxsplit=1)[0].upper() if text.split() else ""
        if chunk := _BDAT.match(text):
            self._chunk_octets = int(chunk[1])
            verb = _END_OF_DATA if chunk[2] else verb
        self._request(verb, number)

    def _request(self, verb: str, number: int) -> None:
        self._open.append((verb, number))
        self.requests.append(number)

    def _reply(self, step: Step) -> None:
        if not self._open:
            return  # the greeting
        (verb, number), code = self._open[0], step.octets[:3]
        transaction = self.transactions[-1]
        if verb == _END_OF_DATA:
            self._final(transaction, step)
            return
        self._open.popleft()
        if verb == "RCPT":
            transaction.rcpts += 1
            if code.startswith(b"2"):
                transaction.accepted.append((number, step.lines[0].number))
        elif verb == "DATA":
            self._in_data = code == b"354"
        elif verb in _RESET and code.startswith(b"2"):
            self.transactions.append(_Transaction())

    def _final(self, transaction: _Transaction, step: Step) -> None:
        if transaction.accepted:
            transaction.final.append(step.lines[0].number)
        if len(transaction.final) >= len(transaction.accepted):
            self._open.popleft()
            self.transactions.append(_Transaction())
