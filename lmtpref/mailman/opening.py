"""Read-only access to a Mailman installation: its configuration file and its database."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import cast

import zope.event
from mailman.config import config
from mailman.core.initialize import initialize_1
from mailman.database.base import SABaseDatabase
from mailman.utilities.string import expand
from sqlalchemy import NullPool, make_url
from sqlalchemy.exc import ArgumentError

from lmtpref.lists.mailinglist import Judge
from lmtpref.mailman.directory import MailmanDirectory
from lmtpref.protocol.errors import ConfigurationError

_opening = Lock()


def open_mailman(path: Path, *, judge: Judge, wait_seconds: float, connections: int) -> MailmanDirectory:
    """Return the directory of the Mailman with the configuration file `path`.

    The function does not connect, so the database may be down.  A process reads one Mailman: its code keeps the
    configuration in a global variable, so changes of the file take effect at a restart.

    Raises ConfigurationError, with the key `url`: if a file is missing or wrong, or the process already reads another Mailman.
    """
    with _opening:
        if not path.is_file():
            raise ConfigurationError(f"there is no file {path}", key="url")
        if config.db is None:
            _load(path)
        elif config.filename is None or Path(config.filename).resolve() != path.resolve():
            raise ConfigurationError(f"this process already reads the Mailman of {config.filename}", key="url")
    return MailmanDirectory(judge=judge, wait_seconds=wait_seconds, connections=connections)


def _load(path: Path) -> None:
    config.create_paths = False
    subscribers = [*zope.event.subscribers]
    try:
        _initialize(path)
        config.db = _database()
    except ConfigurationError:
        # Another attempt would subscribe them again.
        zope.event.subscribers[:] = subscribers
        raise


def _initialize(path: Path) -> None:
    try:
        with _umask_kept():
            initialize_1(str(path.resolve()))
    except SystemExit:
        # Mailman ends the process, after a message on stderr.
        raise ConfigurationError(f"the paths in {path} are not complete", key="url") from None
    except Exception as error:
        raise ConfigurationError(f"Mailman cannot read {path}: {_in_words(error)}", key="url") from None


def _database() -> SABaseDatabase:
    """Return Mailman's database; its schema is neither created nor upgraded."""
    try:
        url = make_url(expand(config.database.url, None, config.paths))
        database = SABaseDatabase()
        if url.get_backend_name() == "sqlite":
            if not Path(url.database or "").is_file():
                raise ConfigurationError(f"there is no database {url.database}; Mailman creates it when it starts", key="url")
            # As in Mailman, every connection opens the file.
            database.pool_class = NullPool
        database.initialize()
    except ArgumentError:
        raise ConfigurationError("the url in Mailman's [database] is not one that SQLAlchemy knows", key="url") from None
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"the driver {error.name!r} of Mailman's database is not installed", key="url") from None
    return database


@contextmanager
def _umask_kept() -> Iterator[None]:
    """Restore the umask, which Mailman changes for the files that it creates."""
    umask = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(umask)


def _in_words(error: BaseException) -> str:
    """Return the first line of an error's text; an error of Mailman's parser has several lines."""
    [first, *_] = [*cast(tuple[object, ...], getattr(error, "errors", ())), error]
    return (str(first).splitlines() or [type(first).__name__])[0]
