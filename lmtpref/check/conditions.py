"""Conditions: the states that some cases need besides extensions, such as a small limit or a full mailbox."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from lmtpref.protocol.errors import UsageError

_FILE = Path(__file__).parent / "conditions.toml"


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of a server, and the options that put the reference server into it.

    `server` are keys of [server], `list` those of the lists named there, `person` the addresses of each person, and `fault` are
    faults as `lmtpref serve --faults` reads them.
    """

    name: str
    says: str
    accept_all: bool = False
    server: Mapping[str, Any] = field(default_factory=dict)
    list: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    person: tuple[Sequence[str], ...] = ()
    fault: tuple[Mapping[str, Any], ...] = ()

    @property
    def tables(self) -> dict[str, Any]:
        """The options that put the reference server into the condition, without empty ones."""
        tables = {"accept_all": self.accept_all, "server": self.server, "list": self.list, "person": self.person, "fault": self.fault}
        return {name: table for name, table in tables.items() if table}


@lru_cache(maxsize=1)
def conditions() -> dict[str, Condition]:
    """Return all conditions, by their names."""
    tables = tomllib.loads(_FILE.read_text("utf-8"))
    arrays = ("person", "fault")
    return {name: Condition(name, **table | {key: tuple(table.get(key, ())) for key in arrays}) for name, table in tables.items()}


def condition(name: str) -> Condition:
    """Return the condition `name`.  Raises UsageError if it does not exist."""
    try:
        return conditions()[name]
    except KeyError:
        raise UsageError(f"there is no condition {name!r}; there are {', '.join(conditions())}") from None
