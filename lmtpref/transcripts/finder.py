"""Transcripts by name: in a document, in a file of their own, or in the documents of the package."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from lmtpref.protocol.errors import UsageError
from lmtpref.transcripts.notation import Transcript, parse

_PACKAGE = Path(__file__).parents[1]
# A directive, its options, an empty line, and the lines that are indented more than the directive.
_BLOCK = re.compile(
    r"^(?P<indent> *)\.\. (?:code-block|code|sourcecode):: *(?P<argument>.*)\n(?P<options>(?:(?P=indent) +:.*\n)*)"
    r"(?:[ \t]*\n)+(?P<text>(?:(?P=indent) +.*\n|[ \t]*\n)+)",
    re.MULTILINE,
)
_NAME = re.compile(r":name: *(\S+)")
LANGUAGE = "lmtp"
_DIALOGUE = re.compile(r"\s*(?:[CS]:|# [a-z]+: )")


def find(named: str, *, base: Path | None = None) -> Transcript:
    """Return the transcript `named`: FILE.rst#ID in a document, FILE for a file with one transcript, or the ID of one in our documents.

    A FILE is looked for in the folder `base` first.  Raises UsageError if it does not exist, TranscriptError if it is invalid.
    """
    file, _, name = named.rpartition("#")
    path = _path(file or named, base)
    if path is None and file:
        raise UsageError(f"there is no file {file!r}")
    if path is None:
        return _shipped(named)
    return _in_document(path, name) if file else _in_own_file(path)


def shipped() -> Path:
    """Return the folder of our documents: in an installed package, or next to it in a checkout."""
    inside = _PACKAGE / "_docs"
    return inside if inside.is_dir() else _PACKAGE.parent / "docs"


class FoundBlock(NamedTuple):
    """A block of transcript text in a document; `start` and `end` are positions, `line` is the number of its first line."""

    start: int
    end: int
    line: int
    name: str | None
    text: str
    argument: str  # of the directive, with trailing blanks


def blocks_in(document: str) -> Iterator[FoundBlock]:
    """Yield the blocks of a document in reStructuredText whose language is lmtp, in any case."""
    document += "\n"
    for match in _BLOCK.finditer(document):
        if match["argument"].strip().lower() == LANGUAGE:
            name = _NAME.search(match["options"])
            text = match["text"].rstrip()
            line = document.count("\n", 0, match.start("text")) + 1
            end = match.start("text") + len(text)
            yield FoundBlock(match.start(), end, line, name and name[1], textwrap.dedent(match["text"]).rstrip("\n"), match["argument"])


def named_in(path: Path) -> Iterator[tuple[str, int, str]]:
    """Yield the name, the number of the first line, and the text of each named transcript in the document at `path`."""
    return ((block.name, block.line, block.text) for block in blocks_in(_text(path)) if block.name and block.argument.strip() == LANGUAGE)


def _path(file: str, base: Path | None) -> Path | None:
    places = [base / file, Path(file)] if base else [Path(file)]
    try:
        return next((place for place in places if place.is_file()), None)
    except (OSError, ValueError):  # the name is too long, or not a valid path
        return None


def _text(path: Path) -> str:
    """Return the text of the file, without a byte order mark.  Raises UsageError if it cannot be read."""
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{path} cannot be read: not UTF-8") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None


def _in_document(path: Path, name: str) -> Transcript:
    for other, line, text in named_in(path):
        if other == name:
            return parse(text, path=str(path), line=line, name=name)
    raise UsageError(f"{path} has no transcript {name!r}")


def _in_own_file(path: Path) -> Transcript:
    text = _text(path)
    if not _DIALOGUE.match(text):
        raise UsageError(f"{path} is not a transcript; name one in a document as {path}#ID")
    return parse(text, path=str(path))


def _shipped(name: str) -> Transcript:
    for path in sorted(shipped().rglob("*.rst")):
        for other, line, text in named_in(path):
            if other == name:
                return parse(text, path=str(path), line=line, name=name)
    raise UsageError(f"there is no file {name!r}, and no transcript of that name comes with lmtpref")
