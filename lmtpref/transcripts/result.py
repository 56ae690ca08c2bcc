"""The outcome of playing a transcript: passed, or the differences, in words and as a patch of its document."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import unified_diff
from functools import cached_property
from itertools import chain, zip_longest

from lmtpref.transcripts.matching import Heard, agrees, in_order_of, line_agrees
from lmtpref.transcripts.notation import Level, Line, Step, Transcript, written

EXCHANGES_SHOWN = 3  # including the one that differs
LINES_SHOWN = 4  # at either end of a long write

Pair = tuple[Step | None, Heard | None]


@dataclass
class Turn:
    """One exchange: the client's action, the replies that the transcript expects, and those that came before the next turn."""

    client: list[Step] = field(default_factory=list)
    server: list[Step] = field(default_factory=list)
    heard: list[Heard] = field(default_factory=list)

    @cached_property
    def expected(self) -> list[Step]:
        """The replies in the transcript."""
        return [step for step in self.server if step.what == "say"]

    @cached_property
    def greets(self) -> bool:
        """Whether the client sent LHLO: the lines of its reply may come in any order."""
        return any(line.text.upper().startswith("LHLO ") for step in self.client for line in step.lines)


@dataclass(frozen=True, slots=True)
class Deviation:
    """A difference other than a reply: octets during a silence, or a connection that was not closed."""

    number: int
    problem: str
    lines: tuple[Line, ...] = ()  # the lines that did not happen


@dataclass(frozen=True, slots=True)
class PlayResult:
    """A transcript that was played, up to the first missing reply."""

    transcript: Transcript
    level: Level
    turns: Sequence[Turn]
    faults: Sequence[Deviation]

    @property
    def passed(self) -> bool:
        """Whether the server's replies match the transcript."""
        return not self.faults and self._first_difference() is None

    @property
    def difference(self) -> str:
        """The first difference: the expected and the received reply, the exchanges before it, the counts; empty if it passed."""
        if self.passed:
            return ""
        fault = min([*self.faults, *filter(None, [self._first_difference()])], key=lambda fault: fault.number)
        parts = [f"{self.transcript.path}:{fault.number}: {fault.problem}\n", *self._context(fault.number)]
        return "".join(parts + [f"{line}\n" for line in self._counts()])

    def explain(self, document: str) -> str:
        """Return `difference` and `diff`; empty if it passed."""
        return "" if self.passed else self.difference + self.diff(document)

    def diff(self, document: str) -> str:
        """Return a unified diff of `document`, the transcript's document: the patched transcript passes.

        `patch -p0` applies it.  Lines that matched are unchanged.
        """
        revision = _Revision(document, self.transcript)
        for fault in self.faults:
            revision.replace(fault.lines, ())
        for turn, heard in zip(self.turns, self._replies_by_turn(), strict=True):
            _revise(revision, turn, _aligned(turn, heard, self.level), self.level)
        old, new = revision.old, revision.new()
        changes = unified_diff(old, new, self.transcript.path, self.transcript.path)
        return "".join(change if change.endswith("\n") else f"{change}\n\\ No newline at end of file\n" for change in changes)

    def _pairs(self) -> Iterator[tuple[Turn, Step | None, Heard | None]]:
        """Every expected reply with the one received in its place, in the order of both."""
        expected = ((turn, step) for turn in self.turns for step in turn.expected)
        heard = chain.from_iterable(turn.heard for turn in self.turns)
        for place, reply in zip_longest(expected, heard):
            turn, step = place or (self.turns[-1], None)
            yield turn, step, reply

    def _first_difference(self) -> Deviation | None:
        for turn, step, heard in self._pairs():
            if step is None or heard is None or not agrees(step, heard, self.level, keywords=turn.greets):
                number = step.lines[0].number if step else self.transcript.lines[-1].number
                return Deviation(number, "\n".join(_contrast(step, heard)))
        return None

    def _counts(self) -> Iterator[str]:
        """Yield the numbers of replies that differ: in total, and at the first difference."""
        expected, heard = sum(len(turn.expected) for turn in self.turns), sum(len(turn.heard) for turn in self.turns)
        if expected == heard:
            return
        difference = f"{_replies(abs(expected - heard))} too {'few' if heard < expected else 'many'}"
        yield f"The transcript has {_replies(expected)}, the server gave {heard}: {difference}."
        turn = next(turn for turn in self.turns if len(turn.expected) != len(turn.heard))
        if turn.client:
            yield f"Line {turn.client[-1].lines[-1].number} is followed by {_replies(len(turn.expected))}; {len(turn.heard)} came."

    def _context(self, before: int) -> Iterator[str]:
        """Yield the last exchanges up to line `before`, with the received replies."""
        replies = chain.from_iterable(turn.heard for turn in self.turns)
        shown: list[list[str]] = []
        for turn in self.turns:
            said = [str(line) for step in turn.client for line in step.lines if line.number <= before]
            done = [step for step in turn.server if step.lines[0].number < before]
            shown.append(_shortened(said))
            for step in done:
                shown[-1] += _spelt(next(replies, ())) if step.what == "say" else [str(step.lines[0])]
        for line in chain.from_iterable([lines for lines in shown if lines][-EXCHANGES_SHOWN:]):
            yield f"  {line}\n"

    def _replies_by_turn(self) -> list[list[Heard]]:
        """Return the replies that belong to each turn.

        If there are as many as expected, they are assigned in order; a transcript may read a reply later than it came.
        """
        counts = [len(turn.expected) for turn in self.turns]
        replies = [reply for turn in self.turns for reply in turn.heard]
        if sum(counts) != len(replies):
            return [turn.heard for turn in self.turns]
        ends = [sum(counts[: place + 1]) for place in range(len(counts))]
        return [replies[end - count : end] for end, count in zip(ends, counts, strict=True)]


class _Revision:
    """A document under revision."""

    def __init__(self, document: str, transcript: Transcript) -> None:
        first = transcript.lines[0]
        self.old = io.StringIO(document).readlines()
        self.top = first.number - 1  # the line above the dialogue
        self._indent = self.old[self.top].partition(str(first))[0]
        self._gone: set[int] = set()
        self._below: dict[int, list[str]] = {}

    def insert(self, below: int, lines: Sequence[str]) -> None:
        """Insert `lines` below the line with the number `below`."""
        self._below.setdefault(below, []).extend(f"{self._indent}{line}\n" for line in lines)

    def replace(self, lines: Sequence[Line], new: Sequence[str]) -> None:
        """Replace `lines` by `new`."""
        self._gone |= {line.number for line in lines}
        if lines:
            self.insert(lines[-1].number, new)

    def new(self) -> list[str]:
        """Return the revised lines."""
        kept = ([] if number in self._gone else [line] for number, line in enumerate(["", *self.old]))
        lines = [line for number, lines in enumerate(kept) for line in lines + self._below.get(number, []) if line]
        return [line if line.endswith("\n") else f"{line}\n" for line in lines[:-1]] + lines[-1:]


def _contrast(step: Step | None, heard: Heard | None) -> Iterator[str]:
    """Yield the description of a difference, then the two replies."""
    yield "no reply came" if heard is None else "another reply came" if step else "a reply too many came"
    for line in step.lines if step else ():
        yield f"  expected  {line}"
    for spelt in _spelt(heard or ()):
        yield f"  came      {spelt}"


def _aligned(turn: Turn, heard: list[Heard], level: Level) -> Iterator[Pair]:
    """Yield expected and received replies side by side; a matching pair is not split while the other side is longer."""
    expected, came = deque(turn.expected), deque(heard)
    while expected or came:
        same = bool(expected and came) and agrees(expected[0], came[0], level, keywords=turn.greets)
        step = expected.popleft() if expected and (same or len(expected) >= len(came)) else None
        yield step, came.popleft() if came and (same or step is None or len(came) > len(expected)) else None


def _revise(revision: _Revision, turn: Turn, pairs: Iterator[Pair], level: Level) -> None:
    """Change the lines of `turn` to the received replies."""
    last = turn.client[-1].lines[-1].number if turn.client else revision.top
    for step, heard in pairs:
        if step is None:
            revision.insert(last, _spelt(heard or ()))
            continue
        last = step.lines[-1].number
        if heard is None or not agrees(step, heard, level, keywords=turn.greets):
            revision.replace(step.lines, _merged(step, heard or (), keywords=turn.greets))


def _merged(step: Step, heard: Heard, *, keywords: bool) -> list[str]:
    """Return the lines of `heard`, as written in `step` if they match."""
    ordered = in_order_of(step.lines, heard) if keywords else heard
    new = _spelt(ordered)
    kept = {place: str(line) for place, (line, came) in enumerate(zip(step.lines, ordered, strict=False)) if line_agrees(line, came)}
    return [kept.get(place, spelt) for place, spelt in enumerate(new)]


def _spelt(heard: Heard) -> list[str]:
    return [written("S", line + b"\r\n") for line in heard]


def _shortened(lines: list[str]) -> list[str]:
    if len(lines) <= 2 * LINES_SHOWN + 1:
        return lines
    return [*lines[:LINES_SHOWN], f"({len(lines) - 2 * LINES_SHOWN} lines)", *lines[-LINES_SHOWN:]]


def _replies(count: int) -> str:
    return f"{count} {'reply' if count == 1 else 'replies'}"
