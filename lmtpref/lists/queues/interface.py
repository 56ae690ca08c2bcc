"""The interfaces of a queue engine: a sink for the server, a store for administrators, a source for consumers."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from lmtpref.lists.queues.memory import Entry
from lmtpref.protocol.catalogue import BUSY_452, FULL_452, LOCAL_ERROR_451, QUEUE_DOWN_451, QUEUE_LIMIT_552
from lmtpref.protocol.errors import LmtpError
from lmtpref.protocol.replies import Reply

# The time to store an entry; after it the reply is 451 4.4.1.  Postfix waits 600 s (lmtp_data_done_timeout).
TIMEOUT_SECONDS = 10.0
# 5 days, as long as Postfix retries (maximal_queue_lifetime).
DUPLICATE_SECONDS = 432_000.0
# A claim expires after this time unless it is renewed.
LEASE_SECONDS = 60.0
# The entries that one consumer claims at once.
PREFETCH = 8
# AMQP's limit: the prefetch count has 16 bits.
MAX_PREFETCH = 65_535


class QueueUnreachableError(LmtpError, ConnectionError):
    """Raised when a queue's engine does not answer, or rejects our connection."""


class ClaimLostError(LmtpError):
    """Raised when a claim's lease has expired, so that another consumer may have the entry."""


class EntrySink(Protocol):
    """The destination of a handler's entries."""

    def put(self, entry: Entry) -> Awaitable[None] | None:
        """Store `entry` in its queue.

        The entry is safe when the method has returned None, or when the returned awaitable is done.  An asyncio.Future
        means that the work is in progress, so that the handler may put further entries meanwhile.  Any exception is a
        local error, and the reply is 4xx (see `reply_to`).
        """


class Queues(EntrySink, Protocol):
    """The queues of a server.

    `max_message_octets` is the engine's limit for a message, known after `open`; None if it has no limit.
    """

    @property
    def max_message_octets(self) -> int | None:
        """The size of the largest message that the engine can store."""

    async def open(self) -> None:
        """Connect to the engine and prepare it.

        Raises UsageError: if the settings are invalid.
        Raises QueueUnreachableError: if another attempt may succeed.
        """

    async def counts(self) -> Mapping[str, int]:
        """Return the number of entries in each queue.

        Raises OSError: if the engine does not answer.
        """

    async def aclose(self) -> bool:
        """Accept no more entries and wait, for a bounded time, for the waiting ones; return whether all are stored."""


class StoredEntry(Protocol):
    """An entry in a store, for administrators."""

    @property
    def id(self) -> str:
        """The name of the entry, unique in the store; names sort in the order of arrival."""

    @property
    def queue(self) -> str:
        """The queue of the entry."""

    @property
    def arrived(self) -> float:
        """The time at which the entry was stored, in seconds since 1970."""

    @property
    def place(self) -> str:
        """The location of the entry: a path, or a masked URL and a row."""

    def entry(self) -> Entry:
        """Return the entry.

        Raises DamagedEntryError: if it is not whole.
        Raises FileNotFoundError: if it is gone.
        """

    def summary(self) -> dict[str, Any]:
        """Return the entry's line of a list of entries.  Raises the same exceptions as `entry`."""

    def remove(self) -> None:
        """Remove the entry durably.

        Raises FileNotFoundError: if the entry was removed or moved meanwhile.
        """

    def move(self, queue: str, entry: Entry | None = None) -> None:
        """Move the entry to another queue; if `entry` is given, replace it with that.

        Raises FileNotFoundError: if the entry was removed or moved meanwhile.
        """


class Store(Protocol):
    """All queues of an engine, for administrators."""

    def counts(self) -> Mapping[str, int]:
        """Return the number of entries in each queue."""

    def stored(self) -> Iterable[StoredEntry]:
        """Return the entries, queue by queue, oldest first."""

    def find(self, identifier: str) -> StoredEntry:
        """Return the entry of that name.

        Raises KeyError: if no entry has it.
        """

    def close(self) -> None:
        """Release connections and files."""


class Claim(Protocol):
    """An entry that only one consumer has; each of the methods ends the claim, and exactly one is called."""

    @property
    def id(self) -> str:
        """The name of the entry."""

    @property
    def entry(self) -> Entry:
        """The entry."""

    def ack(self) -> None:
        """Remove the entry, because the work is done.

        Raises ClaimLostError: if the claim was lost.
        """

    def reject(self, reason: str) -> None:
        """Take the entry out of the queue and keep it for a person to look at.

        Raises ClaimLostError: if the claim was lost.
        """

    def release(self) -> None:
        """Return the entry to its queue, for any consumer; do nothing if the claim was lost."""


class Source(Protocol):
    """One queue of an engine, for one consumer."""

    def next(self, seconds: float) -> Claim | None:
        """Claim and return the next entry; return None if no entry comes within `seconds`.

        Raises QueueUnreachableError: if the engine does not answer.
        """

    def close(self) -> None:
        """Return every entry whose claim has not ended to the queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueOptions:
    """Settings of queues besides the URL."""

    timeout_seconds: float = TIMEOUT_SECONDS
    duplicate_seconds: float = DUPLICATE_SECONDS
    max_pending: int | None = None
    # The URL of another engine for `hold` and `discard`, in which people can browse.
    held: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueEngine:
    """The functions that open a URL as queues, store and source; an entry point of the group `lmtpref.queues` names one.

    An engine without a store has no `lmtpref queues`, and one without a source has no `consume`.
    """

    queues: Callable[[str, QueueOptions], Queues]
    store: Callable[[str], Store] | None = None
    source: Callable[[str, str, float, int], Source] | None = None  # URL, queue, lease in seconds, prefetch


_REPLIES = {
    errno.ENOSPC: FULL_452,
    errno.EDQUOT: FULL_452,
    errno.EAGAIN: BUSY_452,
    errno.EMSGSIZE: QUEUE_LIMIT_552,
}


def is_outage(error: OSError) -> bool:
    """Return whether the engine failed, and not the entry or the disk."""
    return isinstance(error, ConnectionError | TimeoutError)


def reply_to(error: OSError) -> Reply:
    """Return the reply to a client whose message could not be stored."""
    return QUEUE_DOWN_451 if is_outage(error) else _REPLIES.get(error.errno or 0, LOCAL_ERROR_451)
