"""LIMITS (RFC 9422): what a server announces of its limits, and what a client reads from that."""

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
    """Return the words that follow LIMITS in LHLO's reply; empty if no limit can be announced."""
    return f"RCPTMAX={settings.max_recipients}" if settings.max_recipients <= MAX_ANNOUNCED else ""


def parse_limits(words: Iterable[str]) -> dict[str, int]:
    """Return the registered limits that `words` announce, by their names in capitals.

    One word that is not a limit voids them all; a value of the wrong form, and an unknown name, only that limit
    (RFC 9422 section 3.7).  Of a limit announced twice the smaller value counts.
    """
    found = [_LIMIT.fullmatch(word) for word in words]
    if None in found:
        return {}
    limits: dict[str, int] = {}
    for name, value in (match.groups() for match in found if match):
        if name.upper() in REGISTERED and value and _COUNT.fullmatch(value):
            limits[name.upper()] = min(int(value), limits.get(name.upper(), MAX_ANNOUNCED))
    return limits
