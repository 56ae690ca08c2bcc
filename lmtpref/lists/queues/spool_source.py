"""One queue of a spool for one consumer; a claim is a lock on the entry's file."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path

from lmtpref.lists.policy.verdicts import Hold
from lmtpref.lists.queues.entry_file import DamagedEntryError, unpack
from lmtpref.lists.queues.interface import ClaimLostError
from lmtpref.lists.queues.memory import QUEUES, Entry
from lmtpref.lists.queues.spool import Spool, Stored
from lmtpref.protocol.errors import UsageError

log = logging.getLogger(__name__)

PAUSE_SECONDS = 0.1  # between two readings of the folders


@dataclass(frozen=True, slots=True)
class FileClaim:
    """A claim on an entry in a spool; it lasts while `descriptor` is open."""

    source: SpoolSource
    stored: Stored
    descriptor: int
    entry: Entry

    @property
    def id(self) -> str:
        """The name of the entry."""
        return self.stored.id

    def ack(self) -> None:
        """Remove the entry.

        Raises ClaimLostError: if it was removed or moved meanwhile.
        """
        try:
            self.stored.remove()
        except FileNotFoundError:
            raise ClaimLostError(self.id) from None
        finally:
            self.release()

    def reject(self, reason: str) -> None:
        """Move the entry to `hold`, with the reason.

        Raises ClaimLostError: if it was removed or moved meanwhile.
        """
        try:
            self.stored.move("hold", replace(self.entry, verdict=Hold(reason)))
        except FileNotFoundError:
            raise ClaimLostError(self.id) from None
        finally:
            self.release()

    def release(self) -> None:
        """Return the entry to its queue."""
        if self.source.claimed.pop(self.id, None) is not None:
            os.close(self.descriptor)


class SpoolSource:
    """One queue of a spool.

    The kernel releases a lock when its process ends, so a killed consumer returns its claims at once.
    """

    def __init__(self, path: Path | str, queue: str) -> None:
        if queue not in QUEUES:
            raise UsageError(f"no queue {queue!r}; there are {', '.join(QUEUES)}")
        self._queue = Spool(path)[queue]
        self._waiting: deque[Stored] = deque()
        self._damaged: set[str] = set()  # the names of entries that cannot be read
        self.claimed: dict[str, FileClaim] = {}

    def next(self, seconds: float) -> FileClaim | None:
        """Claim and return the next entry; return None if no entry comes within `seconds`."""
        end = time.monotonic() + seconds
        while True:
            self._waiting = self._waiting or deque(self._queue.stored())
            while self._waiting:
                if claim := self._claim(self._waiting.popleft()):
                    return claim
            if time.monotonic() >= end:
                return None
            time.sleep(min(PAUSE_SECONDS, seconds))

    def close(self) -> None:
        """Return every entry whose claim has not ended to the queue."""
        for claim in list(self.claimed.values()):
            claim.release()

    def _claim(self, stored: Stored) -> FileClaim | None:
        """Lock the file and return the claim; return None if another consumer has locked or removed it."""
        import fcntl  # noqa: PLC0415 - a spool needs Unix, this module's import does not

        if stored.id in self.claimed or stored.id in self._damaged:
            return None
        try:
            descriptor = os.open(stored.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        with contextlib.ExitStack() as undoing:
            undoing.callback(os.close, descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Read after locking, because another consumer may have removed the file between open and lock.
                octets = stored.path.read_bytes()
            except (BlockingIOError, FileNotFoundError):
                return None
            try:
                entry = unpack(octets)
            except DamagedEntryError as error:
                self._hold(stored, error)
                return None
            claim = self.claimed[stored.id] = FileClaim(self, stored, descriptor, entry)
            undoing.pop_all()
        return claim

    def _hold(self, stored: Stored, error: DamagedEntryError) -> None:
        """Move a damaged entry to `hold`; a consumer of `hold` passes over it."""
        log.error("entry %s is damaged, and is kept in hold: %s", stored.id, error)
        self._damaged.add(stored.id)
        if stored.queue != "hold":
            stored.move("hold")
