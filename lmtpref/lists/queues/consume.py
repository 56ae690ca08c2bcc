"""Consumers of a queue: `for delivery in consume(URL, "in")`, or `async for`."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Self

from lmtpref.lists.queues.interface import LEASE_SECONDS, PREFETCH, Claim, Source
from lmtpref.lists.queues.memory import Entry
from lmtpref.lists.queues.registry import open_source

# A waiting iterator checks this often whether it was closed.
TURN_SECONDS = 1.0


class Delivery:
    """An entry that only this consumer has.

    At the end of a `with` or `async with` block it is acknowledged, or returned to its queue if the block raises an
    exception.
    """

    def __init__(self, claim: Claim) -> None:
        self._claim = claim
        self._ended = False
        self.id = claim.id
        self.entry: Entry = claim.entry

    def ack(self) -> None:
        """Remove the entry, because the work is done.

        Raises ClaimLostError: if the claim was lost.
        """
        self._ended = True
        self._claim.ack()

    def reject(self, reason: str) -> None:
        """Take the entry out of the queue and keep it for a person to look at.

        Raises ClaimLostError: if the claim was lost.
        """
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
    """One queue as an iterator, or an asynchronous iterator, of deliveries.

    If the queue is empty, the iterator waits for more, or ends if `wait` is False.  `close`, or the end of a `with` block,
    returns unacknowledged entries to the queue; the engine does the same if this process is killed.
    """

    def __init__(self, source: Source, *, wait: bool = True) -> None:
        self._source = source
        self._wait = wait
        self._closed = False
        # Held while the source is asked, so that another thread does not close it meanwhile; a signal handler may.
        self._asking = threading.RLock()
        # The claims that cancelled iterations have left to the next one.
        self._left: deque[Claim] = deque()

    def __iter__(self) -> Iterator[Delivery]:
        while not self._closed:
            if claim := self._next():
                yield Delivery(claim)
            elif not self._wait:
                return

    async def __aiter__(self) -> AsyncIterator[Delivery]:
        while not self._closed:
            if claim := await self._next_async():
                yield Delivery(claim)
            elif not self._wait:
                return

    def _next(self) -> Claim | None:
        with self._asking:
            if self._left:
                return self._left.popleft()
            return None if self._closed else self._source.next(TURN_SECONDS if self._wait else 0)

    async def _next_async(self) -> Claim | None:
        asking = asyncio.create_task(asyncio.to_thread(self._next))
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            # The thread cannot be cancelled, and may still claim an entry.
            asking.add_done_callback(self._leave)
            raise

    def _leave(self, asked: asyncio.Task[Claim | None]) -> None:
        if not asked.cancelled() and not asked.exception() and (claim := asked.result()):
            self._left.append(claim)

    def close(self) -> None:
        """Return unacknowledged entries to the queue."""
        with self._asking:
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

    In a database, a killed consumer's entries stay claimed for up to `lease_seconds`.  A consumer claims up to `prefetch`
    entries at once.

    Raises UsageError: if the URL or the queue is invalid.
    Raises QueueUnreachableError: if the engine does not answer.
    """
    return Consumer(open_source(url, queue, lease_seconds=lease_seconds, prefetch=prefetch), wait=wait)
