"""Take entries out of a queue, one after another: `for claim in consume(URL, "in")`, or `async for`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Self

from lmtpref.lists.queues.interface import LEASE_SECONDS, PREFETCH, Claim, Source
from lmtpref.lists.queues.memory import Entry
from lmtpref.lists.queues.registry import open_source

TURN_SECONDS = 1.0  # after which an iterator that waits looks whether it was closed


class Delivery:
    """An entry that this consumer has and no other.

    In a `with` or `async with` block it is acknowledged at the end, and returned to its queue if the block raises.
    """

    def __init__(self, claim: Claim) -> None:
        self._claim = claim
        self._ended = False
        self.id = claim.id
        self.entry: Entry = claim.entry

    def ack(self) -> None:
        """Remove the entry: the work is done.  Raises ClaimLostError."""
        self._ended = True
        self._claim.ack()

    def reject(self, reason: str) -> None:
        """Take the entry out of the queue, and keep it for people to look at.  Raises ClaimLostError."""
        self._ended = True
        self._claim.reject(reason)

    def release(self) -> None:
        """Return the entry to its queue, for any consumer."""
        self._ended = True
        self._claim.release()

    def __enter__(self) -> Entry:
        return self.entry

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if not self._ended:
            self.ack() if kind is None else self.release()

    async def __aenter__(self) -> Entry:
        return self.entry

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await asyncio.to_thread(self.__exit__, kind, error, trace)


class Consumer:
    """One queue, as an iterator and as an asynchronous iterator of deliveries.

    It waits for more when the queue is empty, unless `wait` is False: then it ends.  `close`, or the end of a `with` block, returns
    what was delivered and not acknowledged; so does the engine if this process is killed.
    """

    def __init__(self, source: Source, *, wait: bool = True) -> None:
        self._source = source
        self._wait = wait
        self._closed = False

    def __iter__(self) -> Iterator[Delivery]:
        while not self._closed:
            if claim := self._source.next(TURN_SECONDS if self._wait else 0):
                yield Delivery(claim)
            elif not self._wait:
                return

    async def __aiter__(self) -> AsyncIterator[Delivery]:
        while not self._closed:
            if claim := await asyncio.to_thread(self._source.next, TURN_SECONDS if self._wait else 0):
                yield Delivery(claim)
            elif not self._wait:
                return

    def close(self) -> None:
        """Return what was not acknowledged to the queue."""
        if not self._closed:
            self._closed = True
            self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.close)


def consume(url: str, queue: str, *, wait: bool = True, lease_seconds: float = LEASE_SECONDS, prefetch: int = PREFETCH) -> Consumer:
    """Return a consumer of one queue; several consumers, in any processes, share its entries.

    `lease_seconds` is how long the entries of a consumer in a database stay claimed after it was killed, `prefetch` how many
    it claims at once.  Raises UsageError, or QueueUnreachableError.
    """
    return Consumer(open_source(url, queue, lease_seconds=lease_seconds, prefetch=prefetch), wait=wait)
