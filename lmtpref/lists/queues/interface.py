"""What a queue engine offers: a place to put entries, a view for administrators, and a source for consumers."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from lmtpref.lists.queues.memory import Entry
from lmtpref.protocol.catalogue import BUSY_452, FULL_452, LOCAL_ERROR_451, QUEUE_DOWN_451, QUEUE_LIMIT_552
from lmtpref.protocol.errors import LmtpError
from lmtpref.protocol.replies import Reply

TIMEOUT_SECONDS = 10.0  # for an entry to be stored; beyond: 451 4.4.1.  Postfix waits 600 s (lmtp_data_done_timeout)
DUPLICATE_SECONDS = 432_000.0  # 5 days, as long as Postfix tries again (maximal_queue_lifetime)
LEASE_SECONDS = 60.0  # for which a claim holds unless it is renewed
PREFETCH = 8  # entries that one consumer claims at once


class QueueUnreachableError(LmtpError, ConnectionError):
    """The engine of a queue does not answer, or refuses to serve us."""


class ClaimLostError(LmtpError):
    """The lease of a claim has expired, and the entry may have gone to another consumer."""


class EntrySink(Protocol):
    """Where a handler puts entries."""

    def put(self, entry: Entry) -> Awaitable[None] | None:
        """Store `entry` in its queue; when this returns, or the awaitable it returns is done, the entry is safe.

        An asyncio.Future stands for work under way, so that more may be put meanwhile.
        Whatever it raises is a local fault: the sender is told to try again (see `reply_to`).
        """


class Queues(EntrySink, Protocol):
    """The queues of a server.

    `max_message_octets` is the largest message that the engine takes, known after `open`; None if it has no limit.
    """

    @property
    def max_message_octets(self) -> int | None:
        """The largest message that the engine takes."""

    async def open(self) -> None:
        """Reach the engine, and prepare it.  Raises UsageError, or QueueUnreachableError if another attempt may succeed."""

    async def counts(self) -> Mapping[str, int]:
        """Return how many entries each queue holds.  Raises OSError if the engine does not tell."""

    async def aclose(self) -> bool:
        """Take no more, and wait, for a bounded time, for what is under way; return whether all of it is stored."""


class StoredEntry(Protocol):
    """An entry in a store, for administrators."""

    @property
    def id(self) -> str:
        """The name of the entry, unique in the store; sorted, names are in order of arrival."""

    @property
    def queue(self) -> str:
        """The queue that holds it."""

    @property
    def arrived(self) -> float:
        """When it was stored, in seconds since 1970."""

    @property
    def place(self) -> str:
        """Where it is: a path, or a masked URL and a row."""

    def entry(self) -> Entry:
        """Return the entry.  Raises DamagedEntryError, or FileNotFoundError if it is gone."""

    def summary(self) -> dict[str, Any]:
        """Return what a list of entries says of it.  Raises as `entry`."""

    def remove(self) -> None:
        """Remove it; when this returns, it will not come back."""

    def move(self, queue: str, entry: Entry | None = None) -> None:
        """Move it to another queue, changed to `entry` if that is given."""


class Store(Protocol):
    """All queues of an engine, for administrators."""

    def counts(self) -> Mapping[str, int]:
        """Return how many entries each queue holds."""

    def stored(self) -> Iterable[StoredEntry]:
        """Return the entries, queue by queue, oldest first."""

    def find(self, identifier: str) -> StoredEntry:
        """Return the entry of that name.  Raises KeyError."""

    def close(self) -> None:
        """Release connections and files."""


class Claim(Protocol):
    """An entry that one consumer has and no other; exactly one of the methods ends the claim."""

    @property
    def id(self) -> str:
        """The name of the entry."""

    @property
    def entry(self) -> Entry:
        """The entry."""

    def ack(self) -> None:
        """Remove the entry: the work is done.  Raises ClaimLostError."""

    def reject(self, reason: str) -> None:
        """Take the entry out of the queue, and keep it for people to look at.  Raises ClaimLostError."""

    def release(self) -> None:
        """Return the entry to its queue, for any consumer.  Nothing happens if the claim was lost."""


class Source(Protocol):
    """One queue of an engine, for one consumer."""

    def next(self, seconds: float) -> Claim | None:
        """Claim the next entry; None if there is none within `seconds`."""

    def close(self) -> None:
        """Return every claim that was not ended to the queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Settings of queues, beside the URL."""

    timeout_seconds: float = TIMEOUT_SECONDS
    duplicate_seconds: float = DUPLICATE_SECONDS
    max_pending: int | None = None
    held: str | None = None  # the URL of the engine for `hold` and `discard`, which people browse


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueEngine:
    """What an entry point of the group `lmtpref.queues` names: how to open each of the three views of a URL."""

    queues: Callable[[str, Options], Queues]
    store: Callable[[str], Store]
    source: Callable[[str, str, float, int], Source]  # URL, queue, lease in seconds, prefetch


_REPLIES = {
    errno.ENOSPC: FULL_452,
    errno.EDQUOT: FULL_452,
    errno.EAGAIN: BUSY_452,
    errno.EMSGSIZE: QUEUE_LIMIT_552,
}


def is_outage(error: OSError) -> bool:
    """Return whether the engine, and not the entry or the disk, is what failed."""
    return isinstance(error, ConnectionError | TimeoutError)


def reply_to(error: OSError) -> Reply:
    """Return the reply to a client whose message could not be stored."""
    return QUEUE_DOWN_451 if is_outage(error) else _REPLIES.get(error.errno or 0, LOCAL_ERROR_451)
