"""Import of lists into a database."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from sqlalchemy import URL, Connection, Engine, NullPool, Table, event, inspect
from sqlalchemy.exc import SQLAlchemyError

from lmtpref.lists.directory.sql import engine_of, error_text
from lmtpref.lists.directory.tables import Row, metadata, person_rows, rows_of
from lmtpref.lists.directory.tables import persons as persons_table
from lmtpref.lists.mailinglist import DirectoryError, MailingList

# Rows are inserted in portions, so that a list of a million members is not in memory twice.
ROWS_AT_ONCE = 5_000


def import_lists(mailing_lists: Iterable[MailingList], url: str | URL, *, persons: Iterable[Iterable[str]] = ()) -> int:
    """Replace the database's contents with these lists and persons in one transaction; return the number of lists.

    The tables are created if they are missing or belong to another version.

    Raises ConfigurationError: if the URL cannot be used.
    Raises DirectoryError: if anything else fails; the database is then unchanged.
    """
    engine = engine_of(url, poolclass=NullPool)
    if engine.dialect.name == "sqlite":
        _make_transactional(engine)
    try:
        with engine.begin() as connection:
            _empty(connection)
            number = 0
            for number, mailing_list in enumerate(mailing_lists, 1):
                for table, rows in rows_of(number, mailing_list):
                    _insert(connection, table, rows)
            _insert(connection, persons_table, person_rows(persons))
            return number
    except SQLAlchemyError as error:
        raise DirectoryError(error_text(error)) from error


def _empty(connection: Connection) -> None:
    """Empty the tables, and create them again if their columns differ from this version's."""
    found = inspect(connection)
    columns = {name: {column["name"] for column in found.get_columns(name)} for name in found.get_table_names() if name in metadata.tables}
    if columns != {table.name: set(table.columns.keys()) for table in metadata.sorted_tables}:
        metadata.drop_all(connection)
        metadata.create_all(connection)
    for table in reversed(metadata.sorted_tables):
        connection.execute(table.delete())


def _insert(connection: Connection, table: Table, rows: Iterable[Row]) -> None:
    rest = iter(rows)
    while some := list[Row](islice(rest, ROWS_AT_ONCE)):
        connection.execute(table.insert(), some)


def _make_transactional(engine: Engine) -> None:
    """Make SQLite include changes of tables in the transaction, and let readers continue meanwhile."""

    @event.listens_for(engine, "connect")
    def connected(connection: object, _: object) -> None:
        connection.isolation_level = None  # type: ignore[attr-defined]  # sqlite3's own transactions leave CREATE and DROP out
        connection.execute("PRAGMA journal_mode=WAL")  # type: ignore[attr-defined]

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
