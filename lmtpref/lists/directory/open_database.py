"""The directory that a configuration's [directory] names; SQLAlchemy is asked for only then."""

from __future__ import annotations

from pathlib import Path

from lmtpref.lists.mailinglist import ListDirectory
from lmtpref.protocol.errors import ConfigurationError

_SQLITE = "sqlite:///"


def open_database(folder: Path, url: str = "", *, wait_seconds: float | None = None, connections: int | None = None) -> ListDirectory:
    """The directory at `url`, where a SQLite file without a root is in `folder`; settings that are None have their defaults.

    Nothing is asked of the database yet, so it may be down.  Raises ConfigurationError, with its key.
    """
    if not url:
        raise ConfigurationError("a directory needs a URL", key="url")
    try:
        from lmtpref.lists.directory.sql import CONNECTIONS, WAIT_SECONDS, SqlDirectory
    except ModuleNotFoundError:
        raise ConfigurationError("lists in a database need SQLAlchemy; pip install 'lmtpref[sql]' brings it", key="url") from None
    return SqlDirectory(_located(url, folder), wait_seconds=wait_seconds or WAIT_SECONDS, connections=connections or CONNECTIONS)


def _located(url: str, folder: Path) -> str:
    """`url` with the whole path of its file, if it names one.  Raises ConfigurationError for a file that there is not."""
    _, is_sqlite, name = url.partition(_SQLITE)
    if not is_sqlite or not name:
        return url
    file = folder.resolve() / name
    if not file.is_file():  # SQLite would make an empty one
        raise ConfigurationError(f"there is no file {name}; `lmtpref lists import` makes it", key="url")
    return _SQLITE + str(file)
