"""Citations of clauses in prose, each with the strength that its RFC gives it: `(2033-4.2-a, MUST)`.

Ids of one strength stand together, and semicolons separate the groups.  A choice of ours that no RFC asks for is marked:
`(6152-3-c, 6152-3-e, must; 5321-2.4-e, MAY; our choice)`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

OUR_CHOICE = "our choice"
OVERRIDDEN = "overridden"  # the strength of an SMTP clause that RFC 2033 replaces

_ID = r"(?:\d{4}(?:-\d+(?:\.\d+)*)?|XFWD|XCLI)-[a-z]+"
_IDS = rf"{_ID}(?:,\s+{_ID})*"
_STRENGTH = r"[A-Za-z]+(?: [A-Za-z]+)*(?:/[A-Za-z]+(?: [A-Za-z]+)*)*"
_CHOICE = rf"{OUR_CHOICE}(?:, A\d+)?"
_ITEM = rf"(?:{_IDS}(?:,\s+{_STRENGTH})?|{_CHOICE})"
_CITATION = re.compile(rf"\({_ITEM}(?:;\s+{_ITEM})*\)")
_GROUP = re.compile(rf"(?P<ids>{_IDS})(?:,\s+(?P<strength>{_STRENGTH}))?|(?P<choice>{_CHOICE})")
_BRACKETS = re.compile(r"\([^()]*\)")
_HAS_ID = re.compile(rf"(?<![\w.-]){_ID}(?![\w.-])")
_IN_BRACKETS = re.compile(r" \([^)]*\)")
_INFORMATIVE = "informative"  # a definition, an example, or advice


class CitationGroup(NamedTuple):
    """Clauses of one strength; `ids` is empty for `our choice`, and `strength` is empty if none is given."""

    ids: tuple[str, ...]
    strength: str


class Citation(NamedTuple):
    """The text between the brackets of one citation, and its place."""

    start: int
    end: int
    groups: tuple[CitationGroup, ...]


def brackets(text: str) -> Iterator[tuple[int, str]]:
    """Yield the text between brackets in `text`, with its place, if it contains the id of a clause."""
    for match in _BRACKETS.finditer(text):
        if _HAS_ID.search(match[0]):
            yield match.start(), match[0]


def citations(text: str) -> Iterator[Citation]:
    """Yield the citations in `text`, in their order."""
    for match in _CITATION.finditer(text):
        groups = (_group(group) for group in _GROUP.finditer(match[0]))
        yield Citation(match.start(), match.end(), tuple(groups))


def strengths(level: str) -> tuple[str, ...]:
    """Return the words that may stand for `level`, a strength as in `clauses.toml`.

    A clause with two requirements has two words: its citation names one of them, or both.
    """
    if level.endswith(f", {OVERRIDDEN}"):
        return (OVERRIDDEN,)
    word = _IN_BRACKETS.sub("", level).partition(f", {OVERRIDDEN}")[0]
    return tuple(_INFORMATIVE if part == "info" else part for part in word.split(" / "))


def strength_of(level: str) -> str:
    """Return the whole strength of a clause of this level, as citations write it."""
    return "/".join(strengths(level))


def agrees(strength: str, level: str) -> bool:
    """Return whether a citation may call a clause of this level `strength`."""
    said, known = strength.split("/"), strengths(level)
    return said == [word for word in known if word in said]


def _group(match: re.Match[str]) -> CitationGroup:
    if match["choice"]:
        return CitationGroup((), match["choice"])
    return CitationGroup(tuple(re.split(r",\s+", match["ids"])), match["strength"] or "")
