"""The directory that the table [directory] of a configuration names; only this imports SQLAlchemy and GNU Mailman."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from lmtpref.lists.directory.threaded import CONNECTIONS, WAIT_SECONDS
from lmtpref.lists.mailinglist import Judge, ListDirectory
from lmtpref.protocol.errors import ConfigurationError

_SQLITE = "sqlite:///"
_MAILMAN = "mailman:"


def open_directory(folder: Path, url: str = "", *, judge: str | None = None, **settings: Any) -> ListDirectory:  # noqa: ANN401 - as open_database has them
    """Return the directory at `url`, a database's or `mailman:FILE`; relative paths start in `folder`.

    `judge` says which senders' right to post counts for Mailman's lists; None means `envelope-or-from`, as in Mailman itself.

    Raises ConfigurationError, with the setting's key: if a setting is invalid, or a package is not installed.
    """
    if names_mailman(url):
        return _open_mailman(folder / url.removeprefix(_MAILMAN), Judge(judge or Judge.ENVELOPE_OR_FROM), **settings)
    if judge is not None:
        raise ConfigurationError("`judge` is for lists of GNU Mailman; each list in a database has its own", key="judge")
    return open_database(folder, url, **settings)


def names_mailman(url: str) -> bool:
    """Return whether `url` is that of a GNU Mailman installation."""
    return url.startswith(_MAILMAN)


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
        raise ConfigurationError("lists in a database need SQLAlchemy; pip install 'lmtpref[sql]' installs it", key="url") from None
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
        raise ConfigurationError(f"there is no file {name}; `lmtpref lists import` creates it", key="url")
    return _SQLITE + str(file)


def _open_mailman(file: Path, judge: Judge, wait_seconds: float | None = None, connections: int | None = None) -> ListDirectory:
    try:
        opening = import_module("lmtpref.mailman.opening")
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"lists of GNU Mailman need {(error.name or '').partition('.')[0]}; pip install 'lmtpref[mailman]' installs it", key="url"
        ) from None
    directory: ListDirectory = opening.open_mailman(
        file, judge=judge, wait_seconds=wait_seconds or WAIT_SECONDS, connections=connections or CONNECTIONS
    )
    return directory
