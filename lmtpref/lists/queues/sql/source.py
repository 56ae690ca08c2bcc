"""One queue in a database for one consumer; claims are leases that are renewed while the consumer runs."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from dataclasses import dataclass, replace

from sqlalchemy import Connection, or_, select, update

from lmtpref.lists.policy.verdicts import Hold
from lmtpref.lists.queues.entry_file import DamagedEntryError
from lmtpref.lists.queues.entry_json import envelope_json
from lmtpref.lists.queues.interface import TIMEOUT_SECONDS, ClaimLostError
from lmtpref.lists.queues.memory import QUEUES, Entry
from lmtpref.lists.queues.names import Names
from lmtpref.lists.queues.sql.database import QueueDatabase
from lmtpref.lists.queues.sql.store import entry_of, reading, remove
from lmtpref.lists.queues.sql.tables import entries
from lmtpref.protocol.errors import UsageError

log = logging.getLogger(__name__)

# The pause before the database is queried again doubles from the first of these to the second.
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0
RENEWALS_A_LEASE = 3
# The most entries that one statement names; SQLite allows 32,766 parameters.
CLAIM_ROWS = 1000


@dataclass(frozen=True, slots=True)
class RowClaim:
    """A claim on an entry in a database."""

    source: SqlSource
    id: str
    entry: Entry

    def ack(self) -> None:
        """Remove the entry.

        Raises ClaimLostError: if the lease has expired and the entry is gone or claimed again.
        """
        with self.source.database.begin() as connection:
            gone = remove(connection, (entries.c.id == self.id) & (entries.c.claim == self.source.name))
        if not gone:
            raise ClaimLostError(self.id)

    def reject(self, reason: str) -> None:
        """Move the entry to `hold`, with the reason.

        Raises ClaimLostError: if the lease has expired and the entry is gone or claimed again.
        """
        held = envelope_json(replace(self.entry, verdict=Hold(reason)))
        if not self._end(queue="hold", data=held):
            raise ClaimLostError(self.id)

    def release(self) -> None:
        """Return the entry to its queue."""
        self._end()

    def _end(self, **values: str) -> bool:
        mine = (entries.c.id == self.id) & (entries.c.claim == self.source.name)
        with self.source.database.begin() as connection:
            return connection.execute(update(entries).where(mine).values(claim=None, claimed_until=None, **values)).rowcount == 1


class SqlSource:
    """One queue in a database.  A killed consumer's claims last for up to `lease_seconds`."""

    def __init__(self, url: str, queue: str, lease_seconds: float, prefetch: int) -> None:
        if queue not in QUEUES:
            raise UsageError(f"no queue {queue!r}; there are {', '.join(QUEUES)}")
        self.database = QueueDatabase(url, TIMEOUT_SECONDS)
        self.database.open(create=False)
        self.name = Names().next()
        self._queue = queue
        self._lease_seconds = lease_seconds
        self._prefetch = min(prefetch, CLAIM_ROWS)
        self._claims: deque[RowClaim] = deque()
        self._ended = threading.Event()
        self._renewing = threading.Thread(target=self._renew, name="lmtpref-leases", daemon=True)
        self._renewing.start()

    def next(self, seconds: float) -> RowClaim | None:
        """Claim and return the next entry; return None if no entry comes within `seconds`."""
        end, pause = time.monotonic() + seconds, FIRST_PAUSE_SECONDS
        while not self._claims:
            if self._claim_more():
                continue
            rest = end - time.monotonic()
            if rest <= 0 or self._ended.wait(min(pause, rest)):
                return None
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        return self._claims.popleft()

    def close(self) -> None:
        """Return every entry whose claim has not ended to the queue."""
        self._ended.set()
        self._renewing.join()
        # If the database does not answer, the leases end by themselves.
        with contextlib.suppress(OSError), self.database.begin() as connection:
            connection.execute(update(entries).where(entries.c.claim == self.name).values(claim=None, claimed_until=None))
        self.database.close()

    def _claim_more(self) -> bool:
        """Claim the next entries, and return whether there were any; damaged ones are moved to `hold`."""
        claims = []
        with self.database.begin() as connection:
            identifiers = self._claim(connection)
            rows = connection.execute(reading().where(entries.c.id.in_(identifiers)).order_by(entries.c.id)) if identifiers else ()
            for row in rows:
                try:
                    claims.append(RowClaim(self, row.id, entry_of(row)))
                except DamagedEntryError as error:
                    self._hold(connection, row.id, error)
        self._claims.extend(claims)
        return bool(identifiers)

    def _hold(self, connection: Connection, identifier: str, error: DamagedEntryError) -> None:
        """Move a damaged entry to `hold`; a consumer of `hold` keeps its claim instead, so that it gets the entry only once."""
        log.error("entry %s is damaged, and is kept in hold: %s", identifier, error)
        if self._queue != "hold":
            connection.execute(update(entries).where(entries.c.id == identifier).values(queue="hold", claim=None, claimed_until=None))

    def _claim(self, connection: Connection) -> list[str]:
        now = self.database.now(connection)
        free = or_(entries.c.claimed_until.is_(None), entries.c.claimed_until < now)
        # SQLite needs no row locks, because BEGIN IMMEDIATE allows one writer at a time.
        oldest = select(entries.c.id).where(entries.c.queue == self._queue, free).order_by(entries.c.id)
        oldest = oldest.limit(self._prefetch).with_for_update(skip_locked=True)
        identifiers = list(connection.execute(oldest).scalars())
        until = now + self._lease_seconds
        connection.execute(update(entries).where(entries.c.id.in_(identifiers)).values(claim=self.name, claimed_until=until))
        return identifiers

    def _renew(self) -> None:
        while not self._ended.wait(self._lease_seconds / RENEWALS_A_LEASE):
            try:
                with self.database.begin() as connection:
                    until = self.database.now(connection) + self._lease_seconds
                    connection.execute(update(entries).where(entries.c.claim == self.name).values(claimed_until=until))
            except OSError:
                # The next attempt may succeed; `ack` raises an exception if the lease is lost.
                continue
