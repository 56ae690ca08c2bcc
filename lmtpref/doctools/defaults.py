"""The defaults of configuration keys, read from the classes that hold the values."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import MISSING, fields
from typing import Any

from lmtpref.cli.maps import Maps
from lmtpref.config.configuration import Configuration
from lmtpref.lists.directory.threaded import CONNECTIONS, WAIT_SECONDS
from lmtpref.lists.mailinglist import Judge, MailingList
from lmtpref.lists.queues.interface import QueueOptions
from lmtpref.protocol.server_limits import Limits
from lmtpref.protocol.settings import Settings

_CLASSES: tuple[tuple[str, Any], ...] = (
    ("server", Settings),
    ("server", Limits),
    ("server", Configuration),
    ("maps", Maps),
    ("list", MailingList),
)


def default_values() -> dict[tuple[str, str], str]:
    """Return the default of each key that has one, in TOML, by the table and the name."""
    return dict(_of_classes()) | {
        ("directory", "judge"): json.dumps(Judge.ENVELOPE_OR_FROM),
        ("directory", "wait_seconds"): str(WAIT_SECONDS),
        ("directory", "connections"): str(CONNECTIONS),
        ("queues", "timeout_seconds"): str(QueueOptions().timeout_seconds),
        ("queues", "duplicate_seconds"): str(QueueOptions().duplicate_seconds),
    }


def _of_classes() -> Iterator[tuple[tuple[str, str], str]]:
    for table, holder in _CLASSES:
        for field in fields(holder):
            if field.default not in (MISSING, None, "", ()):
                yield (table, field.name.removeprefix("address_")), json.dumps(field.default)
