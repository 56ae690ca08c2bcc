"""Connections to the database of queues: durable, bounded in time, and with errors that the server understands."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, insert, make_url, select, text
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from lmtpref.lists.queues.interface import QueueUnreachableError
from lmtpref.lists.queues.sql.files import prepare_file
from lmtpref.lists.queues.sql.tables import SCHEMA_VERSION, metadata, schema
from lmtpref.lists.queues.url import masked
from lmtpref.protocol.errors import UsageError

SCHEMA_LOCK = 2033  # of pg_advisory_xact_lock, while tables are made
POSTGRESQL_LIMIT_OCTETS = 500_000_000  # a field holds 1 GB, and travels as text of twice the length
SQLITE_LIMIT_OCTETS = 999_000_000  # SQLITE_MAX_LENGTH is 1,000,000,000 for a row

# What SQLite says (sqlite3.h), by the low octet of its code, and PostgreSQL, by SQLSTATE or its class, as an errno.
_SQLITE = {5: errno.ETIMEDOUT, 6: errno.ETIMEDOUT, 8: errno.EROFS, 10: errno.EIO, 13: errno.ENOSPC, 18: errno.EMSGSIZE}
_SQLSTATES = {"53100": errno.ENOSPC, "25006": errno.EROFS, "54": errno.EMSGSIZE, "22": errno.EMSGSIZE}
_REFUSED = ("28", "3D", "42501")  # credentials, database, privileges


class QueueDatabase:
    """A database of queues.

    Every transaction is durable when `begin` has ended: SQLite in WAL mode with synchronous=FULL, PostgreSQL with
    synchronous_commit=on and a server that has fsync on.  Raises UsageError for a URL that cannot be used.
    """

    def __init__(self, url: str, timeout_seconds: float) -> None:
        self.name = masked(url)
        self._timeout_seconds = timeout_seconds
        parsed = _parsed(url, self.name)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self.max_message_octets = SQLITE_LIMIT_OCTETS if self.is_sqlite else POSTGRESQL_LIMIT_OCTETS
        self._file = Path(parsed.database or "") if self.is_sqlite else None
        self._engine = self._create(parsed)
        self._statements: dict[tuple[Table, tuple[str, ...]], Any] = {}  # compiled INSERTs
        self._connections: set[Any] = set()  # of the driver, in use, for `interrupt`

    def open(self) -> None:
        """Reach the database, and make the tables if they are missing.  Raises UsageError, or QueueUnreachableError."""
        if self._file:
            prepare_file(self._file)
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
        """A transaction: committed at the end, rolled back if it raises.  Raises OSError for what the database says.

        One that only reads waits for no other in SQLite, which lets in one writer at a time.
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

    def insert_into(self, table: Table) -> Any:  # noqa: ANN401 - two dialects' Insert, which share no type
        """An INSERT that can say what is done on a conflict."""
        return sqlite_insert(table) if self.is_sqlite else postgresql_insert(table)

    def insert(self, connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows, but not those that are there.

        The statement is compiled once: for a small batch, SQLAlchemy's way through `execute` takes longer than the database.
        """
        columns = tuple(rows[0])
        if (table, columns) not in self._statements:
            statement = self.insert_into(table).on_conflict_do_nothing()
            self._statements[table, columns] = statement.compile(dialect=self._engine.dialect, column_keys=columns)
        compiled = self._statements[table, columns]
        if compiled.positional:
            connection.exec_driver_sql(str(compiled), [tuple(map(row.__getitem__, compiled.positiontup)) for row in rows])
        else:
            connection.exec_driver_sql(str(compiled), list(rows))

    def now(self, connection: Connection) -> float:
        """Return the time in seconds since 1970, by the database's clock, so that consumers on several machines agree."""
        if self.is_sqlite:
            return time.time()
        return float(connection.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())

    def interrupt(self) -> None:
        """Make statements that wait for PostgreSQL fail: end their connections.  SQLite waits for the disk, and cannot be made to stop."""
        for driver in list(self._connections):
            with contextlib.suppress(Exception):
                _shut_down(driver.fileno())

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def translated(self, error: SQLAlchemyError) -> OSError:
        """Return what a database's error means to the server, with one line of its text."""
        problem = f"{self.name}: {_first_line(error)}"
        if isinstance(error, PoolTimeoutError):
            return TimeoutError(errno.ETIMEDOUT, problem)
        original = getattr(error, "orig", None)
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
        # psycopg takes whole seconds, and 1 for 2.
        arguments: dict[str, Any] = {"timeout": seconds} if self.is_sqlite else {"connect_timeout": max(2, int(seconds))}
        try:
            engine = create_engine(parsed, pool_size=2, max_overflow=8, pool_timeout=seconds, connect_args=arguments)
        except ModuleNotFoundError as error:
            raise UsageError(f"{self.name}: its driver is not installed: {error.name}") from None
        except (NoSuchModuleError, ArgumentError, TypeError) as error:
            raise UsageError(f"{self.name}: {_first_line(error)}") from None
        if self.is_sqlite:
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
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise UsageError(f"not the URL of a database: {name}") from None
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise UsageError(f"{name}: queues in SQLite need a file; `memory:` keeps them in memory")
    return parsed


def _configure_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401 - a driver's
    """Make a connection durable, and check that it is.  Raises UsageError."""
    connection.isolation_level = None  # `_begin_sqlite` begins every transaction
    for pragma, value, expected in (("journal_mode", "WAL", "wal"), ("synchronous", "FULL", 2), ("foreign_keys", "ON", 1)):
        connection.execute(f"PRAGMA {pragma} = {value}").close()
        [found] = connection.execute(f"PRAGMA {pragma}").fetchone()
        if found != expected:
            raise UsageError(f"SQLite does not take PRAGMA {pragma} = {value}: it stays {found}")


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN" if connection.get_execution_options().get("reading") else "BEGIN IMMEDIATE")


def _check_postgresql(connection: Any, _record: object) -> None:  # noqa: ANN401 - a driver's
    """Raise UsageError if the server loses what it has committed."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW fsync")
        [fsync] = cursor.fetchone()
    connection.rollback()
    if fsync != "on":
        connection.close()
        raise UsageError("this PostgreSQL has fsync = off: it would lose messages that were acknowledged")


def _is_outage(error: SQLAlchemyError, state: str) -> bool:
    """Whether the server cannot be reached, is shutting down (57), has no room for connections (53), or refuses us."""
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
