"""Mailman's `^patterns` for addresses: regular expressions of Python's, which match at the beginning of an address."""

from __future__ import annotations

import logging
import re
from functools import lru_cache
from importlib import import_module
from typing import Any

log = logging.getLogger(__name__)


def matches(pattern: str, address: str, *, ignore_case: bool) -> bool:
    """Return whether `pattern` matches `address`.

    RE2 is used if it is installed and supports the pattern, because it needs linear time for every pattern.  An invalid
    pattern is logged once and matches nothing.
    """
    compiled = (_compile_re2(pattern, ignore_case) if address.isascii() else None) or _compile(pattern, ignore_case)
    return compiled is not None and compiled.match(address) is not None


@lru_cache(maxsize=10_000)
def _compile_re2(pattern: str, ignore_case: bool) -> Any:  # noqa: ANN401, FBT001 - google-re2 has no types; the cache needs positions
    try:
        re2 = import_module("re2")
    except ImportError:
        return None
    options = re2.Options()
    options.case_sensitive = not ignore_case
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error:
        return None


@lru_cache(maxsize=10_000)
def _compile(pattern: str, ignore_case: bool) -> re.Pattern[str] | None:  # noqa: FBT001 - as above
    try:
        return re.compile(pattern, re.IGNORECASE if ignore_case else 0)
    except re.error as error:
        log.error("not a pattern: %r: %s", pattern, error)  # noqa: TRY400 - it says what there is to say
        return None
