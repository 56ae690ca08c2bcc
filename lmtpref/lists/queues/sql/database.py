"""Connections to the database of queues, which are durable and have a time limit."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    ClauseElement,
    Connection,
    Dialect,
    Engine,
    Table,
    bindparam,
    create_engine,
    event,
    insert,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.sql.compiler import SQLCompiler

from lmtpref.lists.database_url import parse_database_url
from lmtpref.lists.queues.interface import QueueUnreachableError
from lmtpref.lists.queues.sql.files import check_file, prepare_file, watch_file
from lmtpref.lists.queues.sql.tables import SCHEMA_VERSION, metadata, schema
from lmtpref.lists.queues.url import masked
from lmtpref.protocol.errors import UsageError

# The key of pg_advisory_xact_lock while tables are created.
SCHEMA_LOCK = 2033
# A field holds 1 GB, and is transferred as text of twice the length.
POSTGRESQL_LIMIT_OCTETS = 500_000_000
# SQLITE_MAX_LENGTH is 1,000,000,000 for a row.
SQLITE_LIMIT_OCTETS = 999_000_000

# Errors as errno: for SQLite by the low octet of its code (sqlite3.h), for PostgreSQL by SQLSTATE or its class.
_SQLITE = {5: errno.ETIMEDOUT, 6: errno.ETIMEDOUT, 8: errno.EROFS, 10: errno.EIO, 13: errno.ENOSPC, 18: errno.EMSGSIZE}
_SQLSTATES = {"53100": errno.ENOSPC, "25006": errno.EROFS, "54": errno.EMSGSIZE, "22": errno.EMSGSIZE}
_REFUSED = ("28", "3D", "42501")  # credentials, database, privileges


class QueueDatabase:
    """A database of queues.

    A transaction is durable when `begin` has ended: SQLite in WAL mode with synchronous=FULL, PostgreSQL with
    synchronous_commit=on and a server that has fsync on.

    Raises UsageError: if the URL cannot be used.
    """

    def __init__(self, url: str, timeout_seconds: float) -> None:
        self.name = masked(url)
        self._timeout_seconds = timeout_seconds
        parsed = _parsed(url, self.name)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self.max_message_octets = SQLITE_LIMIT_OCTETS if self.is_sqlite else POSTGRESQL_LIMIT_OCTETS
        self._file = Path(parsed.database or "") if self.is_sqlite else None
        self._engine = self._create(parsed)
        self._connections: set[Any] = set()  # of the driver, in use, for `interrupt`

    def open(self, *, create: bool = True) -> None:
        """Connect to the database, and create the tables if they are missing; without `create`, a file must exist.

        Raises UsageError: if the database cannot be used.
        Raises QueueUnreachableError: if another attempt may succeed.
        """
        if self._file:
            (prepare_file if create else check_file)(self._file)
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        try:
            with self.begin() as connection:
                self._prepare(connection)
        except (ConnectionError, TimeoutError) as error:
            raise QueueUnreachableError(error.strerror or str(error)) from error
        except OSError as error:
            raise UsageError(error.strerror or str(error)) from error

    @contextlib.contextmanager
    def begin(self, *, reading: bool = False) -> Iterator[Connection]:
        """Run a transaction, which is committed at the end of the block, or rolled back if the block raises an exception.

        SQLite allows one writer at a time; a transaction that only reads does not wait for it.

        Raises OSError: if the database reports an error.
        """
        try:
            with self._engine.connect().execution_options(reading=reading) as connection, connection.begin():
                driver = connection.connection.driver_connection
                self._connections.add(driver)
                try:
                    if not self.is_sqlite:
                        connection.exec_driver_sql("SET LOCAL synchronous_commit = on")
                    yield connection
                finally:
                    self._connections.discard(driver)
        except SQLAlchemyError as error:
            raise self.translated(error) from error

    @contextlib.contextmanager
    def write(self) -> Iterator[Any]:
        """Run a transaction that writes, with a cursor of the driver, which takes less time than SQLAlchemy's `execute`.

        Raises OSError: if the database reports an error.
        """
        try:
            connection = self._engine.raw_connection()
            driver = connection.driver_connection
            self._connections.add(driver)
            try:
                cursor = connection.cursor()
                cursor.execute("BEGIN IMMEDIATE" if self.is_sqlite else "SET LOCAL synchronous_commit = on")
                yield cursor
                connection.commit()
            except BaseException:
                if self.is_sqlite and driver:
                    # A closed connection keeps its locks while the traceback of an error refers to a cursor.
                    driver.rollback()
                connection.invalidate()
                raise
            finally:
                self._connections.discard(driver)
                connection.close()
        except (SQLAlchemyError, self.dialect.loaded_dbapi.Error) as error:
            raise self.translated(error) from error

    def execute(self, cursor: Any, statement: ClauseElement) -> Any:  # noqa: ANN401 - a driver's
        """Execute a statement of SQLAlchemy with a cursor of the driver, and return the cursor."""
        compiled = statement.compile(dialect=self.dialect, compile_kwargs={"render_postcompile": True})
        assert isinstance(compiled, SQLCompiler)
        cursor.execute(str(compiled), [compiled.params[name] for name in compiled.positiontup or ()])
        return cursor

    def insertion(self, table: Table, *columns: str) -> Any:  # noqa: ANN401 - two dialects' Insert, which share no type
        """Return an INSERT of the dialect, which has clauses for conflicts, with a parameter for each of `columns`."""
        insert_into = sqlite_insert if self.is_sqlite else postgresql_insert
        return insert_into(table).values({name: bindparam(name) for name in columns})

    @property
    def dialect(self) -> Dialect:
        """The SQL of the database."""
        return self._engine.dialect

    def now(self, connection: Connection) -> float:
        """Return the time in seconds since 1970, by the database's clock, so that consumers on several machines agree."""
        if self.is_sqlite:
            return time.time()
        return float(connection.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())

    def interrupt(self) -> None:
        """Make statements that wait for PostgreSQL fail by closing their connections; a wait of SQLite for the disk cannot be stopped."""
        for driver in list(self._connections):
            with contextlib.suppress(Exception):
                _shut_down(driver.fileno())

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def translated(self, error: Exception) -> OSError:
        """Return the OSError for a database's error, with one line of its text."""
        problem = f"{self.name}: {_first_line(error)}"
        if isinstance(error, PoolTimeoutError):
            return TimeoutError(errno.ETIMEDOUT, problem)
        original = getattr(error, "orig", None) or error
        code = _SQLITE.get((getattr(original, "sqlite_errorcode", 0) or 0) & 0xFF)
        state = getattr(original, "sqlstate", None) or ""
        code = code or _SQLSTATES.get(state) or _SQLSTATES.get(state[:2])
        if code == errno.ETIMEDOUT:
            return TimeoutError(code, problem)
        if code:
            return OSError(code, problem)
        if not self.is_sqlite and _is_outage(error, state):
            return QueueUnreachableError(problem)
        return OSError(errno.EIO, problem)

    def _create(self, parsed: URL) -> Engine:
        seconds = self._timeout_seconds
        # psycopg accepts whole seconds only, and treats 1 as 2.
        arguments: dict[str, Any] = {"timeout": seconds} if self.is_sqlite else {"connect_timeout": max(2, int(seconds))}
        # Both styles are positional, so that rows can be tuples.
        style = "qmark" if self.is_sqlite else "format"
        try:
            engine = create_engine(parsed, pool_size=2, max_overflow=8, pool_timeout=seconds, connect_args=arguments, paramstyle=style)
        except ModuleNotFoundError as error:
            raise UsageError(f"{self.name}: its driver is not installed: {error.name}") from None
        except (NoSuchModuleError, ArgumentError, TypeError) as error:
            raise UsageError(f"{self.name}: {_first_line(error)}") from None
        if self._file:
            watch_file(engine, self._file)
            event.listen(engine, "connect", _configure_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
        else:
            event.listen(engine, "connect", _check_postgresql)
        return engine

    def _prepare(self, connection: Connection) -> None:
        if not self.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": SCHEMA_LOCK})
        metadata.create_all(connection)
        version = connection.execute(select(schema.c.version)).scalar()
        if version is None:
            connection.execute(insert(schema).values(version=SCHEMA_VERSION))
        elif version != SCHEMA_VERSION:
            raise UsageError(f"{self.name}: its tables have version {version}, and this program needs version {SCHEMA_VERSION}")


def _parsed(url: str, name: str) -> URL:
    parsed = parse_database_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise UsageError(f"{name}: queues in SQLite need a file; `memory:` keeps them in memory")
    if parsed.get_backend_name() == "sqlite" and parsed.query:
        raise UsageError(f"{name}: the URL of queues in SQLite has no parameters")
    return parsed


def _configure_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401 - a driver's
    """Configure a connection to be durable.

    Raises UsageError: if it is not durable afterwards.
    """
    connection.isolation_level = None  # `_begin_sqlite` begins every transaction
    for pragma, value, expected in (("journal_mode", "WAL", "wal"), ("synchronous", "FULL", 2), ("foreign_keys", "ON", 1)):
        connection.execute(f"PRAGMA {pragma} = {value}").close()
        [found] = connection.execute(f"PRAGMA {pragma}").fetchone()
        if found != expected:
            raise UsageError(f"SQLite does not accept PRAGMA {pragma} = {value}: it stays {found}")


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN" if connection.get_execution_options().get("reading") else "BEGIN IMMEDIATE")


def _check_postgresql(connection: Any, _record: object) -> None:  # noqa: ANN401 - a driver's
    """Check that the server's commits are durable.

    Raises UsageError: if they are not.
    """
    with connection.cursor() as cursor:
        cursor.execute("SHOW fsync")
        [fsync] = cursor.fetchone()
    connection.rollback()
    if fsync != "on":
        connection.close()
        raise UsageError("this PostgreSQL has fsync = off: it would lose messages that were acknowledged")


def _is_outage(error: Exception, state: str) -> bool:
    """Return whether the server is unreachable, shuts down (57), has too many connections (53), or rejects our connection."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    return not state or state.startswith(("08", "53", "57", *_REFUSED))


def _first_line(error: Exception) -> str:
    original = getattr(error, "orig", None) or error
    lines = str(original).strip().splitlines()
    return lines[-1].strip() if lines else type(original).__name__


def _shut_down(descriptor: int) -> None:
    with socket.socket(fileno=os.dup(descriptor)) as connected:
        connected.shutdown(socket.SHUT_RDWR)
