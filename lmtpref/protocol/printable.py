"""Text from a peer or a file, made safe for a terminal and for a log."""

from __future__ import annotations

import re

_NOT_PLAIN = re.compile(r"[^ -~]")
_NOT_PLAIN_IN_LINES = re.compile(r"[^ -~\n\t]")


def printable(text: object) -> str:
    r"""Return `text` as one line: characters that do not print are written as Python's escapes.

    These are control characters (C0, DEL, C1), line separators, controls of the writing direction and other invisible ones,
    and lone surrogates: all characters that `str.isprintable` rejects.

    >>> printable("From\x1b[2J: \u202eanne\n")
    'From\\x1b[2J: \\u202eanne\\n'
    """
    return _NOT_PLAIN.sub(_escape, str(text))


def printable_lines(text: str) -> str:
    """Return `text` escaped as by `printable`, except for its line feeds and tabs."""
    return _NOT_PLAIN_IN_LINES.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
