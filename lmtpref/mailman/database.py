"""Connections and sessions of Mailman's database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from mailman.config import config
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import SQLAlchemyError

from lmtpref.lists.directory.sql import error_text
from lmtpref.lists.mailinglist import DirectoryError

# Each thread that asks uses one; after this many seconds a connection is replaced by a new one.
CONNECTIONS = 8
RECYCLE_SECONDS = 10


def connect() -> Connection:
    """Return a connection for statements that only read; closing it ends its transaction, so that it sees changes when it is used again.

    Mailman itself opens a connection to SQLite for each question, and each new connection reads the whole schema first.
    """
    return _engine(config.db.url).connect()


def forget_connections() -> None:
    """Use new connections from now on; those of a process that was forked belong to its parent."""
    for engine in (config.db.engine, _engine(config.db.url)):
        engine.dispose(close=False)


@contextmanager
def own_session() -> Iterator[None]:
    """Use Mailman's database session of this thread, then roll it back and close it.

    Mailman keeps a session for each thread, and an open session would repeat its earlier answers.
    """
    try:
        yield
    finally:
        config.db.abort()
        config.db.close_session()


@contextmanager
def database_errors() -> Iterator[None]:
    """Raise DirectoryError in place of an error of the database or of the disk."""
    try:
        yield
    except SQLAlchemyError as error:
        raise DirectoryError(error_text(error)) from None
    except OSError as error:
        raise DirectoryError(str(error)) from None


@lru_cache(maxsize=1)
def _engine(url: str) -> Engine:
    return create_engine(url, pool_size=CONNECTIONS, max_overflow=CONNECTIONS, pool_recycle=RECYCLE_SECONDS, pool_pre_ping=True)
