"""A transcript cut at what the client says: commands and message content, each with what the server answers to it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate, count, takewhile
from typing import Literal

from lmtpref.protocol.errors import PeerError
from lmtpref.protocol.syntax import parse_bdat
from lmtpref.transcripts.notation import Line, Transcript, Who

Kind = Literal["command", "content", "close"]
Due = Literal["none", "one", "each"]


@dataclass(slots=True, eq=False)
class Frame:
    """What the client says at one point, and what it is answered.

    `verb` is in capitals, and empty where `kind` is not `command`; `group` numbers the client's writes; `due` says how many
    replies the counting rules give it, `each` meaning one for every accepted RCPT; `replies` are the server's lines, its
    pauses and its close among them.
    """

    kind: Kind
    verb: str
    octets: bytes
    lines: tuple[Line, ...]
    group: int
    due: Due
    replies: list[Line] = field(default_factory=list)

    def line_at(self, place: int) -> tuple[Line, int]:
        """Return the line that octet `place` stands in, and where that line begins."""
        starts = accumulate((len(line.octets) for line in self.lines), initial=0)
        return [(line, start) for line, start in zip(self.lines, starts, strict=False) if start <= place][-1]


def greeting(transcript: Transcript) -> list[Line]:
    """Return what the server says before the client has said anything."""
    return list(takewhile(lambda line: line.who == "S", transcript.lines))


def frames(transcript: Transcript) -> Iterator[Frame]:
    """Yield the frames of `transcript`.

    Of several in one write each gets as many replies as the counting rules say (RFC 2033 sections 4.2 and 4.3), and the last
    all that are left; one that stands alone gets all that follow it, be they right or wrong.
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
    """Return the lines of one side that come next, taken away."""
    taken: list[Line] = []
    while lines and lines[0].who == who:
        taken.append(lines.popleft())
    return taken


class _Cutter:
    """Knows what a write of the client's consists of: whether content is under way, and how many RCPTs were accepted."""

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
        """Give `frame` its part of the server's lines that follow its write."""
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
        """Return what is due to the command itself: nothing, if octets follow it."""
        try:
            self._chunk, last, _ = parse_bdat(argument)
        except PeerError:
            return "one"
        self._chunk_due = "each" if last else "one"
        return "none" if self._chunk else self._chunk_due

    def _end_of_data(self, lines: list[Line]) -> tuple[int, Due]:
        """How many lines there are to the final dot, and what is due then."""
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
