"""Waiting until a number of messages have arrived, for every queue, mailbox and test server."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Generic, TypeVar

from lmtpref.protocol.errors import NotArrivedError, UsageError

T = TypeVar("T")

WAIT_SECONDS = 2.0  # default timeout
POLL_SECONDS = 0.005


class Arrivals(ABC, Generic[T]):
    """A sequence of the messages that have arrived, oldest first.  Safe to read from any thread."""

    __slots__ = ()

    @abstractmethod
    def __iter__(self) -> Iterator[T]: ...

    @abstractmethod
    def __len__(self) -> int: ...

    def wait_for(self, count: int, timeout: float = WAIT_SECONDS) -> list[T]:
        """Return all messages as soon as there are at least `count`.

        Raises NotArrivedError: if there are fewer after `timeout` seconds.
        Raises UsageError: if an event loop runs in this thread, because the call would block it.
        """
        # pytest then shows the line of the test.
        __tracebackhide__ = True
        if _is_in_event_loop():
            raise UsageError("wait_for would block the event loop that runs here: await wait_for_async")
        end = time.monotonic() + timeout
        while len(self) < count and time.monotonic() < end:
            time.sleep(POLL_SECONDS)
        return self._arrived(count, timeout)

    async def wait_for_async(self, count: int, timeout: float = WAIT_SECONDS) -> list[T]:
        """Do the same as `wait_for` without blocking the event loop."""
        __tracebackhide__ = True
        end = time.monotonic() + timeout
        while len(self) < count and time.monotonic() < end:
            await asyncio.sleep(POLL_SECONDS)
        return self._arrived(count, timeout)

    def _arrived(self, count: int, timeout: float) -> list[T]:
        __tracebackhide__ = True
        arrived = list(self)
        if len(arrived) < count:
            raise NotArrivedError(f"{len(arrived)} of {count} arrived within {timeout} s{self._explain()}")
        return arrived

    def _explain(self) -> str:
        """Return text to append to the message of NotArrivedError."""
        return ""


def _is_in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
