"""INSERTs of many rows in one statement, sent to the driver itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from sqlalchemy import Dialect

MAX_ROWS = 64  # in one statement; SQLite and PostgreSQL allow at least 32,766 parameters


class Insertion:
    """An INSERT, whose rows are sent in groups of a power of two, up to `MAX_ROWS`, so that drivers can cache its statements.

    For a small batch SQLAlchemy's `execute` takes longer than the database.
    A driver's `executemany` gives up the interpreter lock twice a row, and each time waits until the event loop returns it.
    """

    def __init__(self, statement: Any, dialect: Dialect) -> None:  # noqa: ANN401 - two dialects' Insert, which share no type
        compiled = str(statement.compile(dialect=dialect))
        self._head, values, rest = compiled.partition(" VALUES ")
        row, end, self._tail = rest.partition(")")
        self._head += values
        self._row = row + end

    def execute(self, cursor: Any, rows: Sequence[Sequence[object]], *parameters: object) -> int:  # noqa: ANN401 - a driver's
        """Insert rows, whose values are in the order of the columns; return how many were inserted or updated.

        `parameters` are those of the statement's clauses after VALUES.
        """
        count = 0
        for group in _groups(rows):
            text = self._head + ", ".join([self._row] * len(group)) + self._tail
            cursor.execute(text, [*chain.from_iterable(group), *parameters])
            count += cursor.rowcount
        return count


def _groups(rows: Sequence[Sequence[object]]) -> Iterator[Sequence[Sequence[object]]]:
    """Split `rows` into groups whose lengths are powers of two."""
    start = 0
    while rest := len(rows) - start:
        size = min(MAX_ROWS, 1 << (rest.bit_length() - 1))
        yield rows[start : start + size]
        start += size
