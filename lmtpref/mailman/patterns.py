"""Mailman's `^patterns` for addresses: regular expressions of Python's, which match at the beginning of an address."""

from __future__ import annotations

import atexit
import json
import logging
import re
import subprocess
import sys
from contextlib import suppress
from functools import lru_cache
from importlib import import_module
from threading import Lock
from typing import Any

from lmtpref.lists.mailinglist import DirectoryError

# A pattern that needs longer for an address is hostile, or a mistake.
MATCH_SECONDS = 2

log = logging.getLogger(__name__)


def matches(pattern: str, address: str, *, ignore_case: bool) -> bool:
    """Return whether `pattern` matches `address`.

    RE2 is used if it is installed and supports the pattern, because it needs linear time for every pattern; if not, Python
    matches in a process of its own.  An invalid pattern is logged once and matches nothing.

    Raises DirectoryError: if Python takes too long.
    """
    if address.isascii() and (fast := _fast(pattern, ignore_case)) is not None:
        return fast.match(address) is not None
    return _is_valid(pattern, ignore_case) and _matches_slowly(pattern, address, ignore_case)


@lru_cache(maxsize=10_000)
def _fast(pattern: str, ignore_case: bool) -> Any:  # noqa: ANN401, FBT001 - google-re2 has no types; the cache needs positions
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
def _is_valid(pattern: str, ignore_case: bool) -> bool:  # noqa: FBT001 - as above
    try:
        re.compile(pattern, _flags(ignore_case))
    except re.error as error:
        log.error("not a pattern: %r: %s", pattern, error)  # noqa: TRY400 - it says what there is to say
        return False
    return True


@lru_cache(maxsize=10_000)
def _matches_slowly(pattern: str, address: str, ignore_case: bool) -> bool:  # noqa: FBT001 - as above
    return _MATCHER.matches(pattern, address, _flags(ignore_case))


def _flags(ignore_case: bool) -> int:  # noqa: FBT001 - as above
    return int(re.IGNORECASE) if ignore_case else 0


class _Matcher:
    """A process that matches patterns with Python, one at a time; the kernel ends it when a match takes too long.

    In this process such a match would stop every thread, because it holds the interpreter's lock.
    """

    _PROGRAM = """
import json, re, signal, sys
for line in sys.stdin:
    pattern, address, flags, seconds = json.loads(line)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    found = re.match(pattern, address, flags)
    signal.setitimer(signal.ITIMER_REAL, 0)
    print(int(found is not None), flush=True)
"""

    def __init__(self) -> None:
        self._lock = Lock()
        self._process: subprocess.Popen[str] | None = None
        atexit.register(self.close)

    def matches(self, pattern: str, address: str, flags: int) -> bool:
        """Return whether `pattern` matches `address`.  Raises DirectoryError: if that takes too long."""
        with self._lock:
            answer = self._ask(json.dumps([pattern, address, flags, MATCH_SECONDS]))
            if not answer:
                self.close()
                raise DirectoryError(f"no answer within {MATCH_SECONDS} s from the pattern {pattern!r}")
        return answer == "1\n"

    def _ask(self, question: str) -> str:
        self._process = self._process or subprocess.Popen(  # noqa: S603 - a program of our own
            [sys.executable, "-I", "-S", "-c", self._PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdin
        assert self._process.stdout
        with suppress(OSError):
            self._process.stdin.write(f"{question}\n")
            self._process.stdin.flush()
            return self._process.stdout.readline()
        return ""

    def close(self) -> None:
        """End the process, if there is one."""
        if self._process:
            with suppress(OSError), self._process:
                self._process.kill()
            self._process = None


_MATCHER = _Matcher()
