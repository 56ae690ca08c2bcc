"""The directory that the table [directory] of a configuration names; only this imports SQLAlchemy."""

from __future__ import annotations

from pathlib import Path

from lmtpref.lists.mailinglist import ListDirectory
from lmtpref.protocol.errors import ConfigurationError

# The defaults of the settings.  Postfix waits 300 s for the reply to RCPT (lmtp_rcpt_timeout).
WAIT_SECONDS = 5.0
CONNECTIONS = 4

_SQLITE = "sqlite:///"


def open_database(folder: Path, url: str = "", *, wait_seconds: float | None = None, connections: int | None = None) -> ListDirectory:
    """Return the directory at `url`; a relative SQLite path starts in `folder`, and None stands for a setting's default.

    The function does not connect, so the database may be down.

    Raises ConfigurationError, with the setting's key: if a setting is invalid, or SQLAlchemy is not installed.
    """
    if not url:
        raise ConfigurationError("a directory needs a URL", key="url")
    try:
        from lmtpref.lists.directory.sql import SqlDirectory
    except ModuleNotFoundError:
        raise ConfigurationError("lists in a database need SQLAlchemy; pip install 'lmtpref[sql]' brings it", key="url") from None
    return SqlDirectory(_located(url, folder), wait_seconds=wait_seconds or WAIT_SECONDS, connections=connections or CONNECTIONS)


def _located(url: str, folder: Path) -> str:
    """Return `url` with the absolute path of its file, if it names one.

    Raises ConfigurationError: if the file does not exist.
    """
    _, is_sqlite, name = url.partition(_SQLITE)
    if not is_sqlite or not name:
        return url
    file = folder.resolve() / name
    # SQLite would create an empty file.
    if not file.is_file():
        raise ConfigurationError(f"there is no file {name}; `lmtpref lists import` makes it", key="url")
    return _SQLITE + str(file)
