"""Patterns for addresses, matched in linear time by RE2 (the extra `patterns`)."""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import Any

from lmtpref.protocol.errors import ConfigurationError

MAX_PATTERN_CHARACTERS = 1000


class Pattern:
    """A `^pattern` in RE2 syntax, matched against an address without regard to case; `$` anchors its end.

    Raises ConfigurationError, with `key`: if the pattern is invalid, or google-re2 is not installed.
    """

    __slots__ = ("_compiled", "given")

    def __init__(self, given: str, *, key: str | None = None) -> None:
        self.given = given
        self._compiled = _compile(given, key)

    def matches(self, address: str) -> bool:
        """Return whether `address` matches, in time proportional to its length."""
        return self._compiled.search(address) is not None

    def __repr__(self) -> str:
        return f"<Pattern {self.given}>"


# A directory in a database parses a list's patterns for each sender.
@lru_cache(maxsize=10_000)
def _compile(pattern: str, key: str | None) -> Any:  # noqa: ANN401 - google-re2 has no types
    try:
        re2 = import_module("re2")
    except ImportError:
        raise ConfigurationError(f"patterns need google-re2, the extra `patterns`: {pattern!r}", key=key) from None
    if len(pattern) > MAX_PATTERN_CHARACTERS:
        raise ConfigurationError(f"a pattern has at most {MAX_PATTERN_CHARACTERS} characters", key=key)
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else error.args[0]
        raise ConfigurationError(f"not a pattern: {pattern!r}: {reason}", key=key) from None
