"""The comparison of a reply with the one in a transcript, at each level of strictness."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from lmtpref.protocol.errors import UsageError
from lmtpref.protocol.replies import Reply
from lmtpref.transcripts.notation import LEVELS, WILDCARD, Level, Line, Step

Heard = tuple[bytes, ...]  # the lines of one received reply, without CRLFs


def loosest(*levels: Level) -> Level:
    """Return the least strict of these levels."""
    return max(levels, key=LEVELS.index)


def agrees(step: Step, heard: Heard, level: Level, *, keywords: bool = False) -> bool:
    """Return whether `heard` is the reply that `step` expects.

    `exact`: every line, apart from wildcards; `enhanced`: the code, and the enhanced code if the transcript has one;
    `code`: the three digits; `class`: the first digit.  With `keywords`, the lines after the first, which are LHLO's
    keywords, may come in any order.
    """
    if level == "exact":
        # A hyphen announces a further line, so if all lines agree, their numbers are equal.
        return all(map(line_agrees, step.lines, in_order_of(step.lines, heard) if keywords else heard))
    code, enhanced = _codes([line.octets.removesuffix(b"\r\n") for line in step.lines])
    code_heard, enhanced_heard = _codes(heard)
    if level == "class":
        return code[0] == code_heard[0]
    return code == code_heard and (level == "code" or enhanced in {None, enhanced_heard})


def line_agrees(line: Line, heard: bytes) -> bool:
    """Return whether a line matches the transcript's; `[...]` stands for any octets, or none."""
    return _pattern(line.octets, WILDCARD in line.text).fullmatch(heard + b"\r\n") is not None


def in_order_of(lines: Sequence[Line], heard: Heard) -> Heard:
    """Return LHLO's reply with its keywords in the order of `lines`, followed by the other keywords."""
    if len(heard) < len(lines[:2]):
        return heard
    left = list(heard[1:])
    ordered = [heard[0]]
    for line in lines[1:]:
        found = next((keyword for keyword in left if line_agrees(line, line.octets[:4] + keyword[4:])), None)
        if found is not None:
            left.remove(found)
            ordered.append(found)
    ordered += left
    return tuple(keyword[:3] + (b" " if place == len(ordered) else b"-") + keyword[4:] for place, keyword in enumerate(ordered, 1))


@lru_cache(maxsize=1024)
def _pattern(octets: bytes, wild: bool) -> re.Pattern[bytes]:  # noqa: FBT001 - part of the cache's key
    parts = octets.split(WILDCARD.encode()) if wild else [octets]
    return re.compile(b".*".join(map(re.escape, parts)), re.DOTALL)


def _codes(lines: Sequence[bytes]) -> tuple[str, str | None]:
    """Return code and enhanced code; for text that is no reply, the characters in the place of the code."""
    texts = [line.decode("latin-1") for line in lines]
    try:
        reply = Reply.parse(texts)
    except UsageError:
        return texts[0][:3].ljust(3), None
    return str(reply.code), str(reply.enhanced) if reply.enhanced else None
