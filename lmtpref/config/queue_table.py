"""The table [queues] of a configuration: the URL of an engine, and its settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lmtpref.lists.queues.interface import QueueOptions
from lmtpref.lists.queues.registry import engine_for
from lmtpref.lists.queues.url import beside, is_variable
from lmtpref.protocol.errors import ConfigurationError, UsageError


def queue_settings(table: Mapping[str, Any], folder: Path, *, has_spool: bool) -> dict[str, Any]:
    """Return the values for `Configuration`, with paths relative to `folder`.  Raises ConfigurationError, with its key."""
    if has_spool:
        raise ConfigurationError("messages are kept in a spool or in queues, not in both", key="url")
    if "url" not in table:
        raise ConfigurationError("queues need a URL", key="url")
    settings = dict(table) | {key: _url(table[key], folder, key) for key in ("url", "held") if key in table}
    return {"queues_url": settings.pop("url"), "queue_options": QueueOptions(**settings)}


def _url(url: str, folder: Path, key: str) -> str:
    """Return the URL, with an absolute path if it names a file; an environment variable is read when the queues are opened."""
    try:
        if not is_variable(url):
            engine_for(url)
    except UsageError as error:
        raise ConfigurationError(str(error), key=key) from None
    return beside(folder, url)
