"""Transcripts in documents, as examples that Sybil runs.

In a conftest.py::

    pytest_collect_file = Sybil([TranscriptParser(connect)], pattern="*.rst").pytest()

where `connect(namespace)` opens a `Wire` to the server that the page describes.  Transcripts with `# role: client` are for
pages about a client; `TranscriptParser(connect, flip=flip)` plays the server's side of these.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from sybil import Document, Example, Region

from lmtpref.protocol.errors import TranscriptError, UsageError
from lmtpref.transcripts.finder import LANGUAGE, blocks_in
from lmtpref.transcripts.memory_wire import Wire
from lmtpref.transcripts.notation import Level, Transcript, parse
from lmtpref.transcripts.player import play

__all__ = ["Block", "TranscriptParser", "blocks", "identify", "problems"]

Flip = Callable[[Transcript, dict[str, Any]], str]

_NAME = re.compile(r"[a-z][a-z0-9]*(?:[.-]+[a-z0-9]+)*")
_TITLE = re.compile(r"^(?P<title>\S[^\n]*)\n(?P<line>(?P<mark>[=\-~^\"'#*+.:`_])(?P=mark)+)$", re.MULTILINE)
_NOT_IN_ANCHOR = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Block:
    """A `.. code-block:: lmtp` in a document: its name, its text, and the line number of the text."""

    path: str
    line: int
    name: str | None
    text: str
    argument: str  # the text after the directive's colons

    @property
    def problem(self) -> str | None:
        """Why this block would not be run as written; None if it would."""
        if self.argument != LANGUAGE:
            return f"the directive's argument must be {LANGUAGE!r}, without trailing blanks: {self.argument!r}"
        if self.name is not None and not _NAME.fullmatch(self.name):
            return f"a name is of small letters, digits, dots and hyphens, and begins with a letter: {self.name!r}"
        return None

    def parse(self) -> Transcript:
        """Return the transcript.  Raises TranscriptError if it is invalid."""
        if self.problem:
            raise TranscriptError(f"{self.path}:{self.line}: {self.problem}")
        return parse(self.text, path=self.path, line=self.line, name=self.name)


class TranscriptParser:
    """A parser that finds the transcripts of a document, and plays each over a wire of its own from `connect`.

    One with `# role: client` is passed to `flip` instead, with the document's namespace.  `flip` returns how the client departed
    from the transcript, or an empty text (`Script.explain` does).
    """

    def __init__(self, connect: Callable[[dict[str, Any]], Wire], *, level: Level = "exact", flip: Flip | None = None) -> None:
        self._connect, self._level, self._flip = connect, level, flip

    def __call__(self, document: Document) -> Iterator[Region]:
        """Yield the transcripts of `document`, as regions for Sybil."""
        for region, block in _blocks(document):
            yield Region(region.start, region.end, block, self.evaluate)

    def evaluate(self, example: Example) -> str:
        """Return how the server departed from the transcript; empty if it did not."""
        block: Block = example.parsed
        try:
            transcript = block.parse()
            if transcript.role == "client" and self._flip:
                return self._flip(transcript, example.namespace)
            outcome = play(transcript, self._connect(example.namespace), level=self._level)
        except TranscriptError as problem:
            return str(problem)
        except (OSError, UsageError) as problem:
            return f"{block.path}:{block.line}: {problem}"
        return outcome.explain(example.document.text)


def identify(example: Example, wire: str = "") -> str:
    """Return the name of an example, its `:name:` or else its section and its number there, and then the wire."""
    if name := _name(example.region):
        return f"{name}[{wire}]" if wire else name
    sections = _sections(example.document.text)
    section = _section_at(sections, example.start)
    nameless = (start for start, region in example.document.regions if not _name(region))
    number = sum(start <= example.start and _section_at(sections, start) == section for start in nameless)
    return f"{section}[{number}-{wire}]" if wire else f"{section}[{number}]"


def blocks(path: Path) -> list[Block]:
    """Return the transcripts of the document at `path`."""
    return [block for _, block in _blocks(Document(path.read_text(encoding="utf-8"), str(path)))]


def sections(path: Path) -> dict[str, str]:
    """Return the text of each section of the document at `path`, by the name that its examples have."""
    text = path.read_text(encoding="utf-8")
    begun = [(0, "top"), *_sections(text)]
    found: dict[str, str] = {}
    for (start, section), (end, _) in zip(begun, [*begun[1:], (len(text), "")], strict=True):
        found[section] = found.get(section, "") + text[start:end]
    return found


def problems(paths: Iterable[Path]) -> list[str]:
    """Return the problems that would prevent these documents' transcripts from being run, or found by name; a line each.

    A name must be unique in all documents, also in the form of the anchor that docutils makes of it.
    It must differ from the headings of its page too, because the page has one place for each anchor.
    """
    found: list[str] = []
    places: dict[str, str] = {}
    for block in (block for path in sorted(paths) for block in blocks(path)):
        place = f"{block.path}:{block.line}"
        if block.problem:
            found.append(f"{place}: {block.problem}")
        elif block.name and (other := places.setdefault(anchor(block.name), place)) != place:
            found.append(f"{place}: the name {block.name!r} is taken, in {other}")
        elif block.name and anchor(block.name) in sections(Path(block.path)):
            found.append(f"{place}: the name {block.name!r} is taken, by a heading of the page")
    return found


def anchor(name: str) -> str:
    """Return the form that docutils gives to `name` in HTML: dots become hyphens, and the first character is a letter."""
    return _NOT_IN_ANCHOR.sub("-", name.lower()).lstrip("-0123456789").rstrip("-")


def _blocks(document: Document) -> Iterator[tuple[Region, Block]]:
    path = _shown(document.path)
    for found in blocks_in(document.text):
        yield Region(found.start, found.end), Block(path, found.line, found.name, found.text, found.argument)


def _shown(path: str) -> str:
    """Return `path` relative to the current folder, so that `patch -p0` finds it; unchanged if it is elsewhere."""
    place, here = Path(path), Path.cwd()
    return str(place.relative_to(here)) if place.is_relative_to(here) else path


def _name(region: Region) -> str | None:
    return region.parsed.name if isinstance(region.parsed, Block) else None


@lru_cache(maxsize=4)
def _sections(text: str) -> list[tuple[int, str]]:
    """Return the sections of a document, each with its first line and its title."""
    return [(match.start(), anchor(match["title"])) for match in _TITLE.finditer(text) if len(match["title"]) <= len(match["line"])]


def _section_at(sections: list[tuple[int, str]], position: int) -> str:
    return next((section for start, section in reversed(sections) if start <= position), "top")
