"""The frames of a transcript: the client's commands and message content, each with the server's replies to it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate, count, takewhile
from typing import Literal

from lmtpref.protocol.peer_error import PeerError
from lmtpref.protocol.syntax import parse_bdat
from lmtpref.transcripts.notation import Line, Transcript, Who

Kind = Literal["command", "content", "close"]
Due = Literal["none", "one", "each"]


@dataclass(slots=True, eq=False)
class Frame:
    """One command or content of the client, and its replies.

    `verb` is in capitals, and empty unless `kind` is `command`; `group` numbers the client's writes.  `due` is the number of
    replies by the counting rules, where `each` means one for every accepted RCPT.  `replies` are the server's lines, with its
    pauses and its close.
    """

    kind: Kind
    verb: str
    octets: bytes
    lines: tuple[Line, ...]
    group: int
    due: Due
    replies: list[Line] = field(default_factory=list)

    def line_at(self, place: int) -> tuple[Line, int]:
        """Return the line that contains octet `place`, and the beginning of that line."""
        starts = accumulate((len(line.octets) for line in self.lines), initial=0)
        return [(line, start) for line, start in zip(self.lines, starts, strict=False) if start <= place][-1]


def greeting(transcript: Transcript) -> list[Line]:
    """Return the server's lines before the first line of the client."""
    return list(takewhile(lambda line: line.who == "S", transcript.lines))


def frames(transcript: Transcript) -> Iterator[Frame]:
    """Yield the frames of `transcript`.

    Of several frames in one write, each gets as many replies as the counting rules say (RFC 2033 sections 4.2 and 4.3), and the
    last one all that remain.  A single frame gets all replies that follow it, correct or not.
    """
    cutter = _Cutter()
    lines = deque(transcript.lines)
    _taken(lines, "S")
    for group in count():
        said = [line for line in _taken(lines, "C") if line.what != "pause"]
        answers = deque(_taken(lines, "S"))
        if not said:
            return
        cut = list(cutter.cut(said, group))
        for frame in cut:
            cutter.pair(frame, answers, last=frame is cut[-1])
        yield from cut


def _taken(lines: deque[Line], who: Who) -> list[Line]:
    """Remove and return the next lines of one side."""
    taken: list[Line] = []
    while lines and lines[0].who == who:
        taken.append(lines.popleft())
    return taken


class _Cutter:
    """A parser for the client's writes: it tracks whether content is expected, and the number of accepted RCPTs."""

    def __init__(self) -> None:
        self._in_data = False
        self._chunk = 0  # octets of it still to come
        self._chunk_due: Due = "one"
        self._accepted = 0

    def cut(self, lines: list[Line], group: int) -> Iterator[Frame]:
        """Yield the frames of one write."""
        while lines:
            if lines[0].what == "close":
                taken, frame = 1, Frame("close", "", b"", (lines[0],), group, "none")
            elif self._in_data or self._chunk:
                taken, due = self._end_of_data(lines) if self._in_data else self._end_of_chunk(lines)
                frame = Frame("content", "", b"".join(line.octets for line in lines[:taken]), tuple(lines[:taken]), group, due)
            else:
                taken, frame = 1, self._command(lines[0], group)
            yield frame
            lines = lines[taken:]

    def pair(self, frame: Frame, answers: deque[Line], *, last: bool) -> None:
        """Assign to `frame` its part of the server's lines after its write."""
        due = {"none": 0, "one": 1, "each": self._accepted}[frame.due]
        while answers and (last or due or answers[0].what == "pause"):
            frame.replies.append(answers.popleft())
            due -= frame.replies[-1].octets[3:4] == b" " or frame.replies[-1].octets[3:5] == b"\r\n"
        codes = [line.octets[:1] for line in frame.replies if line.what == "say"]
        self._accepted += frame.verb == "RCPT" and codes[:1] == [b"2"]
        self._in_data = self._in_data or (frame.verb == "DATA" and b"3" in codes)

    def _command(self, line: Line, group: int) -> Frame:
        verb, _, argument = line.octets.removesuffix(b"\r\n").decode("utf-8", "surrogateescape").partition(" ")
        frame = Frame("command", verb.upper(), line.octets, (line,), group, "one")
        if frame.verb == "BDAT":
            frame.due = self._begin_chunk(argument)
        elif frame.verb in {"MAIL", "LHLO", "RSET"}:
            self._accepted = 0
        return frame

    def _begin_chunk(self, argument: str) -> Due:
        """Return the replies due to the command itself: none, if octets follow it."""
        try:
            self._chunk, last, _ = parse_bdat(argument)
        except PeerError:
            return "one"
        self._chunk_due = "each" if last else "one"
        return "none" if self._chunk else self._chunk_due

    def _end_of_data(self, lines: list[Line]) -> tuple[int, Due]:
        """Return the number of lines up to the final dot, and the replies due then."""
        octets = b"\r\n"
        for taken, line in enumerate(lines, 1):
            octets += line.octets
            if octets.endswith(b"\r\n.\r\n"):
                self._in_data = False
                return taken, "each"
        return len(lines), "none"

    def _end_of_chunk(self, lines: list[Line]) -> tuple[int, Due]:
        for taken, line in enumerate(lines, 1):
            self._chunk -= len(line.octets)
            if self._chunk <= 0:
                self._chunk = 0
                return taken, self._chunk_due
        return len(lines), "none"
