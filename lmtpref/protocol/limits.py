"""LIMITS (RFC 9422): the limits that a server announces, and their interpretation by a client."""

from __future__ import annotations

import re
from collections.abc import Iterable

from lmtpref.protocol.settings import Settings

MAX_ANNOUNCED = 999_999  # a registered limit's value has one to six digits (RFC 9422 section 4)
REGISTERED = frozenset({"MAILMAX", "RCPTMAX", "RCPTDOMAINMAX"})  # RFC 9422 section 4

# RFC 9422 section 3: limit-name-value = limit-name ["=" limit-value]; a value is of any visible characters but ";".
_LIMIT = re.compile(r"([A-Za-z0-9_-]+)(?:=([!-:<-~]+))?")
_COUNT = re.compile(r"[1-9][0-9]{0,5}")


def announce(settings: Settings) -> str:
    """Return the words after LIMITS in LHLO's reply; empty if no limit can be announced."""
    return f"RCPTMAX={settings.max_recipients}" if settings.max_recipients <= MAX_ANNOUNCED else ""


def parse_limits(words: Iterable[str]) -> dict[str, int]:
    """Return the registered limits that `words` announce, by their names in capitals.

    A word that is not a limit makes all of them invalid; a value of the wrong form, or an unknown name, only that limit
    (RFC 9422 section 3.7).  If a limit is announced twice, the smaller value counts.
    """
    found = [_LIMIT.fullmatch(word) for word in words]
    if None in found:
        return {}
    limits: dict[str, int] = {}
    for name, value in (match.groups() for match in found if match):
        if name.upper() in REGISTERED and value and _COUNT.fullmatch(value):
            limits[name.upper()] = min(int(value), limits.get(name.upper(), MAX_ANNOUNCED))
    return limits
