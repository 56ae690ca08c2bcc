"""Queues in a database, in which each batch of entries is one transaction."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from sqlalchemy import bindparam, delete, func, select, union_all

from lmtpref.lists.queues.duplicates import duplicate_key, has_received
from lmtpref.lists.queues.entry_json import envelope_json
from lmtpref.lists.queues.group_commit import MAX_PENDING_ENTRIES, Commit, Committer
from lmtpref.lists.queues.interface import QueueOptions, QueueUnreachableError, is_outage
from lmtpref.lists.queues.memory import QUEUES, Entry
from lmtpref.lists.queues.names import Names, drawn_at
from lmtpref.lists.queues.outage import Outage
from lmtpref.lists.queues.sql.database import QueueDatabase
from lmtpref.lists.queues.sql.insertion import Insertion
from lmtpref.lists.queues.sql.tables import contents, entries, keys
from lmtpref.protocol.errors import UsageError

log = logging.getLogger(__name__)

CLOSE_SECONDS = 10.0  # the time that `close` waits for the database
PURGE_SECONDS = 60.0  # between two removals of old keys
PURGE_ROWS = 5000  # keys removed at once


@dataclass(slots=True, eq=False, kw_only=True)
class RowCommit(Commit):
    """A commit of one entry to the database, with its name, its row, and the key that it shares with its duplicates.

    `row` lacks the last column, the name of the content.
    It is made before the commit, so that the committing thread hardly ever holds the interpreter lock that the event loop needs.
    """

    name: str
    row: tuple[object, ...]
    key: str | None = None


class SqlQueues:
    """Queues in SQLite or PostgreSQL, written by group commit for all connections of the server."""

    def __init__(self, url: str, options: QueueOptions | None = None) -> None:
        options = options or QueueOptions()
        self.database = QueueDatabase(url, options.timeout_seconds)
        self._duplicate_seconds = options.duplicate_seconds
        self._into_contents = _content_insertion(self.database)
        into_entries = self.database.insertion(entries, "id", "queue", "list", "reverse_path", "arrived", "data", "content_id")
        self._into_entries = Insertion(into_entries, self.database.dialect)
        self._into_keys = _key_insertion(self.database)
        self._outage = Outage(self.database.name)
        self._names = Names()
        # The contents of the last batch with their names, by identity.
        self._recent: dict[int, tuple[bytes, str]] = {}
        self._purged = time.monotonic()
        self._committer = Committer(
            self._commit,
            max_pending=options.max_pending or MAX_PENDING_ENTRIES,
            timeout_seconds=options.timeout_seconds,
            interrupt=self._interrupt,
        )

    @property
    def max_message_octets(self) -> int:
        """The size of the largest message that fits into a row."""
        return self.database.max_message_octets

    @property
    def pending(self) -> int:
        """The number of entries that wait for the database."""
        return self._committer.pending

    async def open(self) -> None:
        """Connect to the database, and create its tables if they are missing."""
        await asyncio.to_thread(self.database.open)

    def put(self, entry: Entry) -> asyncio.Future[None] | None:
        """Store `entry` in its queue: in the background if an event loop runs, else before the method returns.

        Raises OSError, from the method or from the future: if the entry could not be stored.
        """
        name = self._names.next()
        commit = RowCommit(entry, name=name, row=_row(entry, name))
        return self._committer.put(commit)

    async def counts(self) -> dict[str, int]:
        """Return the number of entries in each queue.

        Raises OSError: if the database does not answer.
        """
        return await asyncio.to_thread(counts, self.database)

    async def aclose(self) -> bool:
        """Accept no more entries and wait for the waiting ones; return whether all are stored."""
        return await asyncio.to_thread(self.close)

    def close(self, seconds: float = CLOSE_SECONDS) -> bool:
        """Do the same as `aclose`, for callers without an event loop."""
        done = self._committer.close(seconds)
        if not done:
            self.database.interrupt()
        self.database.close()
        return done

    def __enter__(self) -> Self:
        self.database.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _interrupt(self) -> None:
        """End a transaction that takes too long."""
        self._outage.began(TimeoutError(f"{self.database.name}: it did not answer in time"))
        self.database.interrupt()

    def _commit(self, batch: list[RowCommit]) -> None:
        """Store a batch; repeat it once if the connection was dead."""
        if self._duplicate_seconds:
            _give_keys(batch)
        try:
            try:
                self._store(batch)
            except QueueUnreachableError:
                self._store(batch, again=True)
        except UsageError as error:
            unreachable = QueueUnreachableError(str(error))
            self._outage.began(unreachable)
            raise unreachable from error
        except OSError as error:
            self._recent = {}
            if is_outage(error):
                self._outage.began(error)
            raise
        self._outage.ended()

    def _store(self, batch: list[RowCommit], *, again: bool = False) -> None:
        alive = [commit for commit in batch if not commit.abandoned]
        with self.database.write() as cursor:
            if again and self._is_stored(cursor, batch):
                return
            new = self._without_duplicates(cursor, alive)
            if new:
                names = self._store_contents(cursor, new)
                self._into_entries.execute(cursor, [(*commit.row, names[id(commit.entry.content)]) for commit in new])
            self._purge(cursor)

    def _is_stored(self, cursor: Any, batch: list[RowCommit]) -> bool:  # noqa: ANN401 - a driver's
        """Return whether an earlier attempt was committed, which its connection did not live to report.

        It has stored all of the batch, in one transaction.  Consumers may have taken the entries, but their keys remain.
        """
        names = [commit.name for commit in batch]
        row = select(entries.c.id).where(entries.c.id.in_(names))
        key = select(keys.c.entry_id).where(keys.c.key.in_([commit.key for commit in batch]), keys.c.entry_id.in_(names))
        return bool(self.database.execute(cursor, union_all(row, key)).fetchall())

    def _store_contents(self, cursor: Any, batch: Iterable[RowCommit]) -> dict[int, str]:  # noqa: ANN401 - a driver's
        """Store each content once, and return the names of the contents by their identity.

        The recipients of one message may be in two batches, so the contents of the last batch are kept.
        """
        known: dict[int, tuple[bytes, str]] = {}
        rows: dict[str, tuple[object, ...]] = {}
        for commit in batch:
            content = commit.entry.content
            if id(content) not in known:
                known[id(content)] = self._recent.get(id(content)) or (content, commit.name)
                name = known[id(content)][1]
                rows[name] = (name, commit.entry.trace, content, len(content))
        self._into_contents.execute(cursor, list(rows.values()))
        self._recent = known
        return {identity: name for identity, (_, name) in known.items()}

    def _without_duplicates(self, cursor: Any, batch: list[RowCommit]) -> list[RowCommit]:  # noqa: ANN401 - a driver's
        """Return the entries of a batch that are not duplicates; log each duplicate with the name of the first entry."""
        first: dict[str, RowCommit] = {}
        for commit in batch:
            if commit.key:
                first.setdefault(commit.key, commit)
        if not first:
            return batch
        owners = self._owners(cursor, first)
        new = []
        for commit in batch:
            owner = owners[commit.key] if commit.key else commit.name
            if owner == commit.name:
                new.append(commit)
            else:
                log.warning("duplicate of entry %s dropped: %s for %s", owner, commit.entry.reverse_path or "<>", commit.entry.list)
        return new

    def _owners(self, cursor: Any, first: Mapping[str, RowCommit]) -> dict[str, str]:  # noqa: ANN401 - a driver's
        """Reserve each key for its entry, and return for each key the entry that has it, which may be an earlier one."""
        # The rows are sorted by key, so that two servers that store the same keys cannot deadlock.
        rows = [(key, commit.name, drawn_at(commit.name)) for key, commit in sorted(first.items())]
        if self._into_keys.execute(cursor, rows, time.time() - self._duplicate_seconds) == len(rows):
            return {key: commit.name for key, commit in first.items()}
        found = self.database.execute(cursor, select(keys.c.key, keys.c.entry_id).where(keys.c.key.in_(list(first))))
        return dict(found.fetchall())

    def _purge(self, cursor: Any) -> None:  # noqa: ANN401 - a driver's
        if time.monotonic() - self._purged < PURGE_SECONDS:
            return
        self._purged = time.monotonic()
        old = select(keys.c.key).where(keys.c.arrived <= time.time() - self._duplicate_seconds).limit(PURGE_ROWS)
        self.database.execute(cursor, delete(keys).where(keys.c.key.in_(old)))


def _content_insertion(database: QueueDatabase) -> Insertion:
    """Return an INSERT that keeps a row that exists, because the previous batch has stored it, and locks it.

    Without the lock, a consumer that removes the last entry of the previous batch could remove the content before its next entry is
    stored.  SQLite needs none, because it allows one writer at a time.
    """
    statement = database.insertion(contents, "id", "trace", "content", "octets")
    if database.is_sqlite:
        return Insertion(statement.on_conflict_do_nothing(), database.dialect)
    locked = statement.on_conflict_do_update(index_elements=[contents.c.id], set_={"octets": statement.excluded.octets})
    return Insertion(locked, database.dialect)


def _key_insertion(database: QueueDatabase) -> Insertion:
    """Return an INSERT that also takes over the keys that are not younger than its last parameter."""
    statement = database.insertion(keys, "key", "entry_id", "arrived")
    taken = {"entry_id": statement.excluded.entry_id, "arrived": statement.excluded.arrived}
    old = keys.c.arrived <= bindparam("old")
    return Insertion(statement.on_conflict_do_update(index_elements=[keys.c.key], set_=taken, where=old), database.dialect)


def counts(database: QueueDatabase) -> dict[str, int]:
    """Return the number of entries in each queue.

    Raises OSError: if the database does not answer.
    """
    with database.begin(reading=True) as connection:
        rows = connection.execute(select(entries.c.queue, func.count().label("held")).group_by(entries.c.queue))
        found: dict[str, int] = {row.queue: row.held for row in rows}
    return {name: found.pop(name, 0) for name in QUEUES} | found


def _give_keys(batch: Iterable[RowCommit]) -> None:
    digests: dict[int, bytes | None] = {}
    for commit in batch:
        content = commit.entry.content
        if id(content) not in digests:
            digests[id(content)] = hashlib.sha256(content).digest() if has_received(content) else None
        if digest := digests[id(content)]:
            commit.key = duplicate_key(commit.entry, digest)


def _row(entry: Entry, name: str) -> tuple[object, ...]:
    return (name, entry.queue, entry.list, entry.reverse_path, drawn_at(name), envelope_json(entry))
