"""The store of queues in a database, for administrators."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, delete, exists, func, select, update

from lmtpref.lists.queues.entry_file import UNREADABLE, DamagedEntryError, fault_in, restore
from lmtpref.lists.queues.entry_json import envelope_json
from lmtpref.lists.queues.interface import TIMEOUT_SECONDS
from lmtpref.lists.queues.memory import QUEUES, Entry
from lmtpref.lists.queues.sql.database import QueueDatabase
from lmtpref.lists.queues.sql.queues import counts
from lmtpref.lists.queues.sql.tables import contents, entries
from lmtpref.lists.queues.summary import summary_of

PAGE_ROWS = 500  # rows read at once
# A list of entries reads only this many octets of a content, for its Message-ID.
HEADER_OCTETS = 65_536


@dataclass(frozen=True, slots=True)
class StoredRow:
    """An entry in a database."""

    database: QueueDatabase
    id: str
    queue: str
    arrived: float

    @property
    def place(self) -> str:
        """The location of the entry: the database and the row."""
        return f"{self.database.name} queue_entries {self.id}"

    def entry(self) -> Entry:
        """Return the entry.

        Raises DamagedEntryError: if its data are unreadable.
        Raises FileNotFoundError: if it is gone.
        """
        with self.database.begin(reading=True) as connection:
            row = connection.execute(reading().where(entries.c.id == self.id)).one_or_none()
        if row is None:
            raise FileNotFoundError(self.place)
        return entry_of(row)

    def summary(self) -> dict[str, Any]:
        """Return the entry's line of a list of entries; only the header of the content is read."""
        with self.database.begin(reading=True) as connection:
            row = connection.execute(reading(HEADER_OCTETS).where(entries.c.id == self.id)).one_or_none()
        if row is None:
            raise FileNotFoundError(self.place)
        return summary_of(entry_of(row)) | {"octets": row.octets}

    def remove(self) -> None:
        """Remove the entry, and its content if no other entry has it.

        Raises FileNotFoundError: if the entry was removed or moved meanwhile.
        """
        with self.database.begin() as connection:
            if not remove(connection, (entries.c.id == self.id) & (entries.c.queue == self.queue)):
                raise self._gone()

    def move(self, queue: str, entry: Entry | None = None) -> None:
        """Move the entry to another queue; if `entry` is given, replace it with that.

        Raises FileNotFoundError: if the entry was removed or moved meanwhile.
        """
        values = {"queue": queue, "claim": None, "claimed_until": None} | ({"data": envelope_json(entry)} if entry else {})
        here = (entries.c.id == self.id) & (entries.c.queue == self.queue)
        with self.database.begin() as connection:
            if not connection.execute(update(entries).where(here).values(values)).rowcount:
                raise self._gone()

    def _gone(self) -> FileNotFoundError:
        return FileNotFoundError(errno.ENOENT, f"it is no longer in {self.queue}")


class SqlStore:
    """All queues in a database."""

    def __init__(self, url: str) -> None:
        self.database = QueueDatabase(url, TIMEOUT_SECONDS)
        self.database.open(create=False)

    def counts(self) -> dict[str, int]:
        """Return the number of entries in each queue."""
        return counts(self.database)

    def stored(self) -> Iterator[StoredRow]:
        """Return the entries, queue by queue, oldest first."""
        for queue in QUEUES:
            last = ""
            while page := self._page(queue, last):
                yield from page
                last = page[-1].id

    def find(self, identifier: str) -> StoredRow:
        """Return the entry of that name.

        Raises KeyError: if no entry has it.
        """
        with self.database.begin(reading=True) as connection:
            row = connection.execute(_select_headers().where(entries.c.id == identifier)).one_or_none()
        if row is None:
            raise KeyError(identifier)
        return StoredRow(self.database, *row)

    def close(self) -> None:
        """Close all connections."""
        self.database.close()

    def _page(self, queue: str, last: str) -> list[StoredRow]:
        page = _select_headers().where(entries.c.queue == queue, entries.c.id > last).order_by(entries.c.id).limit(PAGE_ROWS)
        with self.database.begin(reading=True) as connection:
            return [StoredRow(self.database, *row) for row in connection.execute(page)]


def _select_headers() -> Select[Any]:
    return select(entries.c.id, entries.c.queue, entries.c.arrived)


def reading(octets: int | None = None) -> Select[Any]:
    """Return the statement that reads entries with the first `octets` of their contents, or all of them."""
    content = (
        contents.c.content if octets is None else func.substr(contents.c.content, 1, octets, type_=contents.c.content.type).label("content")
    )
    return select(entries.c.id, entries.c.data, contents.c.trace, content, contents.c.octets).join(contents)


def entry_of(row: Row[Any]) -> Entry:
    """Return the entry of a row of `reading`.

    Raises DamagedEntryError: if its data are unreadable.
    """
    try:
        return restore(json.loads(row.data), bytes(row.trace), bytes(row.content))
    except UNREADABLE as error:
        raise DamagedEntryError(f"its data cannot be read: {fault_in(error)}") from None


def remove(connection: Connection, condition: ColumnElement[bool]) -> bool:
    """Remove the entry of the condition, and its content with the last entry that has it; return False if there is none."""
    content_id = connection.execute(select(entries.c.content_id).where(condition)).scalar_one_or_none()
    if content_id is None:
        return False
    # The content is locked first, so that of two consumers that remove its last two entries, the second sees that it is the last.
    connection.execute(select(contents.c.id).where(contents.c.id == content_id).with_for_update())
    gone = connection.execute(delete(entries).where(condition)).rowcount == 1
    others = exists().where(entries.c.content_id == content_id)
    connection.execute(delete(contents).where(contents.c.id == content_id, ~others))
    return gone
