"""C:/S: dialogues as values: parsed, written, and linked to the lines of their document.

`transcript_play` plays them, `transcript_match` compares replies, `transcript_outcome` says what differed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from lmtpref.protocol.errors import TranscriptError, UsageError

Who = Literal["C", "S"]
What = Literal["say", "pause", "close"]
Level = Literal["exact", "enhanced", "code", "class"]

KEYS = ("rule", "given", "needs", "offers", "match", "role", "accept")
LEVELS: tuple[Level, ...] = ("exact", "enhanced", "code", "class")  # from the strictest to the loosest
ROLES = ("server", "client")  # which side of the dialogue is on trial
WILDCARD = "[...]"
MAX_PAUSE_SECONDS = 86_400.0

_LINE = re.compile(r"([CS]):(?: (.+))?")
_HEAD = re.compile(r"# ([a-z]+): (\S.*)")
_MARK = re.compile(r"<([a-z]+)(?: ([^<>]*))?>")
# RFC 5321 section 4.2: Reply-code = %x32-35 %x30-35 %x30-39; the second digit is not checked.
_REPLY = re.compile(rb"[2-5]\d\d([ -].*)?\r\n", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Head:
    """A `# key: value` line above a dialogue."""

    number: int
    key: str
    value: str

    def __str__(self) -> str:
        return f"# {self.key}: {self.value}"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a dialogue: an action of one side.

    `number` counts from 1 in the document; `text` is the text after `C: ` or `S: `; `octets` are the sent octets,
    with CRLF; `seconds` is the length of a pause.
    """

    number: int
    who: Who
    text: str
    what: What = "say"
    octets: bytes = b""
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.who}: {self.text}" if self.text else f"{self.who}:"


@dataclass(frozen=True, slots=True)
class Step:
    """One action of one side: a write of the client, a reply of the server, a pause or a close."""

    who: Who
    what: What
    lines: tuple[Line, ...]

    @property
    def octets(self) -> bytes:
        """The octets of all lines."""
        return b"".join(line.octets for line in self.lines)


@dataclass(frozen=True, slots=True)
class Transcript:
    """A dialogue and its place in a document; `str` of it is its text."""

    path: str
    name: str | None
    heads: tuple[Head, ...]
    steps: tuple[Step, ...]

    def values(self, key: str) -> tuple[str, ...]:
        """Return the comma-separated values of `key` in the head lines, in their order."""
        return tuple(value.strip() for head in self.heads if head.key == key for value in head.value.split(","))

    @property
    def level(self) -> Level:
        """The level at which replies are compared: from `# match:`, by default `exact`."""
        stated = self.values("match")
        return next((level for level in LEVELS if level in stated), "exact")

    @property
    def role(self) -> str:
        """The tested side: from `# role:`, by default the server."""
        return next(iter(self.values("role")), "server")

    @property
    def lines(self) -> tuple[Line, ...]:
        """The lines of the dialogue."""
        return tuple(line for step in self.steps for line in step.lines)

    def __str__(self) -> str:
        return "".join(f"{line}\n" for line in (*self.heads, *self.lines))


def parse(text: str, *, path: str = "transcript", line: int = 1, name: str | None = None) -> Transcript:
    """Return the transcript in `text`; `line` is the number of its first line in the document at `path`.

    Raises TranscriptError, which names document, line and error.
    """
    heads: list[Head] = []
    lines: list[Line] = []
    steps: list[Step] = []
    closed: set[Who] = set()
    number = line
    try:
        for number, written in enumerate(text.removesuffix("\n").split("\n"), line):
            if written.startswith("#"):
                heads.append(_head(number, written, after=lines))
            else:
                lines.append(parse_line(written, number))
        if not lines:
            raise UsageError("the transcript has no lines")  # noqa: TRY301 - named like the others
        for step in _steps(lines):
            number = step.lines[-1].number
            _check_step(step, closed)
            steps.append(step)
            closed |= {step.who} if step.what == "close" else set()
    except UsageError as problem:
        raise TranscriptError(f"{path}:{number}: {problem}") from None
    return Transcript(path, name, tuple(heads), tuple(steps))


def parse_line(written: str, number: int = 1) -> Line:
    """Return the line of a dialogue in `written`.  Raises UsageError that describes the error."""
    if not written.isprintable() or written.endswith(" "):
        raise UsageError(f"a tab, a trailing blank or another character that editors change; write it as <raw hex>: {written!r}")
    if not (match := _LINE.fullmatch(written)):
        raise UsageError(f"neither 'C: text' nor 'S: text', nor a head line; an empty line of a message is 'C:': {written!r}")
    who: Who = "C" if match[1] == "C" else "S"
    text = match[2] or ""
    line = _mark(number, who, text) if text.startswith("<") and text.endswith(">") else _literal(number, who, text)
    if line.who == "S" and line.what == "say" and not _REPLY.fullmatch(line.octets):
        raise UsageError(f"a reply line is a code from 200 to 599, then a blank or a hyphen and text, then CRLF: {written!r}")
    return line


def written(who: Who, octets: bytes) -> str:
    """Return the line for `octets`, which end in CRLF if `who` is the server: plain if that is lossless, else `<raw>`."""
    try:
        plain = str(Line(0, who, octets.removesuffix(b"\r\n").decode()))
        if WILDCARD not in plain and parse_line(plain).octets == octets:
            return plain
    except ValueError:  # not UTF-8, or no legal line
        pass
    return f"{who}: <raw {octets.hex(' ')}>"


def _head(number: int, written: str, *, after: list[Line]) -> Head:
    match = _HEAD.fullmatch(written)
    if after or not match:
        raise UsageError(f"a head line is '# key: value' and stands above the dialogue: {written!r}")
    key, value = match.groups()
    if key not in KEYS:
        raise UsageError(f"{key!r} is not a key of a head line; the keys are {', '.join(KEYS)}")
    legal = {"match": LEVELS, "role": ROLES}.get(key)
    if legal and value not in legal:
        raise UsageError(f"{key} is one of {', '.join(legal)}: {value!r}")
    return Head(number, key, value)


def _literal(number: int, who: Who, text: str) -> Line:
    if who == "C" and WILDCARD in text:
        raise UsageError(
            f"{WILDCARD} cannot be sent; it is for 'S:' lines only, and written as <raw hex> if it is meant literally: {text!r}"
        )
    return Line(number, who, text, octets=text.encode() + b"\r\n")


def _mark(number: int, who: Who, text: str) -> Line:
    match = _MARK.fullmatch(text)
    kind, argument = match.groups() if match else (None, None)
    try:
        if kind == "close" and argument is None:
            return Line(number, who, text, "close")
        if kind == "pause" and argument and 0 <= float(argument) <= MAX_PAUSE_SECONDS:
            return Line(number, who, text, "pause", seconds=float(argument))
        if kind == "raw" and argument:
            return Line(number, who, text, octets=bytes.fromhex(argument))
    except ValueError:
        pass
    raise UsageError(f"not a mark; there are <close>, <pause seconds> and <raw hex>: {text!r}")


def _steps(lines: Iterable[Line]) -> Iterator[Step]:
    groups: list[list[Line]] = []
    for line in lines:
        if groups and _continues(groups[-1][-1], line):
            groups[-1].append(line)
        else:
            groups.append([line])
    return (Step(group[0].who, group[0].what, tuple(group)) for group in groups)


def _continues(last: Line, line: Line) -> bool:
    """Return whether `line` belongs to the same write or reply as `last`."""
    together = last.who == line.who and last.what == line.what == "say"
    return together and (last.who == "C" or last.octets[3:4] == b"-")


def _check_step(step: Step, closed: set[Who]) -> None:
    if closed & {"S", step.who}:
        raise UsageError(f"nothing comes after <close>: '{step.lines[0]}'")
    if step.who == "S" and step.what == "say":
        if step.lines[-1].octets[3:4] == b"-":
            raise UsageError(f"the hyphen announces another line, but none follows: '{step.lines[-1]}'")
        if len({line.octets[:3] for line in step.lines}) > 1:
            raise UsageError(f"the lines of one reply begin with one code (RFC 5321 section 4.2.1): '{step.lines[-1]}'")
