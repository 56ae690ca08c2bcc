"""The results in the body of an Authentication-Results field (RFC 8601 section 2.2), as authres reads them (the extra `auth`).

authres continues in the middle of a property that it cannot read, where it may find another one.
So it only gets results that have the form of the grammar.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache
from importlib import import_module
from typing import Any

from lmtpref.lists.policy.field_body import end_of_comment
from lmtpref.protocol.domains import a_labels
from lmtpref.protocol.errors import ConfigurationError

_PIECE = re.compile(r'(?P<quoted>"(?:[^"\\]|\\.)*")|(?P<text>[^"();\\]+)|(?P<mark>.)', re.DOTALL)
# The identifier and the version, of which there is one.
_HEAD = re.compile(r"\s*\S+(?:\s+1)?\s*")
_METHOD = re.compile(r"\s*([\w-]+)\s*[=/]", re.ASCII)
_NOTHING = re.compile(r"\s*(?:none\s*)?", re.IGNORECASE | re.ASCII)
_QUOTED = r'"(?:[\t !#-\[\]-~]|\\[\t -~])*"'
_PLAIN = r"[!#-'*+./0-9=?@A-Z^_`a-z{|}~-]"
_NAME = r"\s+(?:[\w-]+\s*\.\s*)?[\w-]+\s*=\s*+"
# An IPv6 address is not in the form that authres reads everywhere; some MTAs omit the quotes that its colons need.
_IPV6 = re.compile(rf'{_NAME}("?)[0-9A-Fa-f]*:[0-9A-Fa-f:.]*\1(?=\s|\Z)', re.ASCII)
# RFC 6532 section 3.2: in an internationalised message, the addresses and domains in results may be in UTF-8.
_UTF8 = re.compile(rf'({_NAME})([^\s"]*[^\s"\x00-\x7f][^\s"]*)(?=\s|\Z)', re.ASCII)
# Quotes that a value does not need.
_UNNEEDED = re.compile(rf'(\s[\w-]+\s*\.\s*[\w-]+\s*=\s*)"({_PLAIN}+)"(?=\s|\Z)', re.ASCII)
# Otherwise only the last value may be quoted, because authres reads such a value only there.
_RESULT = re.compile(
    rf"""\s*[\w-]+\s*(?:/\s*\d+\s*)?=\s*[\w.-]+
    (?:\s+reason\s*=\s*(?:{_QUOTED}|[\w.-]+))?
    (?:{_NAME}{_PLAIN}*+(?!"))*+
    (?:{_NAME}{_QUOTED}(?:@[\w.-]+)?)?\s*""".replace("\n    ", ""),
    re.ASCII,
)


def results_in(body: str, methods: Collection[str]) -> list[Any] | None:
    """Return the results of `methods`, without their comments; None if they or the field are not as the grammar has them.

    Other methods' results are passed over, and so is an empty one.
    Some MTAs end the last result with a semicolon, and some write the identifier alone for `none`; the grammar allows neither.

    Raises ConfigurationError: if authres is not installed.
    """
    head, *rest = _without_comments(body) or [""]
    results = [result for result in rest if not _NOTHING.fullmatch(result)]
    named = [(match[1].lower(), result) for result in results if (match := _METHOD.match(result))]
    ours = [_plain(result) for method, result in named if method in methods]
    if not _HEAD.fullmatch(head) or len(named) < len(results) or not all(map(_RESULT.fullmatch, ours)):
        return None
    try:
        return list(authres().AuthenticationResultsHeader.parse(f"Authentication-Results: x;{';'.join(ours)}").results) if ours else []
    except authres().AuthResError:
        return None


def _plain(result: str) -> str:
    """Return `result` in ASCII and with few quotes, as authres reads it: addresses in UTF-8 lose their local part, IPv6 is omitted."""
    return _UNNEEDED.sub(r"\1\2", _IPV6.sub("", _UTF8.sub(lambda match: f"{match[1]}@{a_labels(match[2].rpartition('@')[2])}", result)))


@lru_cache(maxsize=1)
def authres() -> Any:  # noqa: ANN401 - authres has no types
    """Return the module authres.

    Raises ConfigurationError: if it is not installed.
    """
    try:
        return import_module("authres")
    except ImportError:
        raise ConfigurationError("authentication results need authres, the extra `auth`", key="trusted_authserv_id") from None


def _without_comments(body: str) -> list[str] | None:
    """Return the parts of `body` between semicolons, without comments; None if a comment or a quoted string does not end."""
    parts = [""]
    at: int | None = 0
    while at is not None and (match := _PIECE.match(body, at)):
        at = match.end()
        if match["mark"] == "(":
            at = end_of_comment(body, at)
        elif match["mark"] == ";":
            parts.append("")
        elif match["mark"]:
            return None
        else:
            parts[-1] += match[0]
    return None if at is None else parts
