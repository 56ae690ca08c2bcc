"""Calls to Mailman's code in threads of their own, each with a time limit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from lmtpref.lists.directory.daemon_executor import Threads

T = TypeVar("T")
P = ParamSpec("P")


class BoundedCalls:
    """A pool of at most `count` daemon threads that run calls; a call that takes longer than `seconds` is abandoned."""

    def __init__(self, count: int, seconds: float) -> None:
        self._threads = Threads(count)
        self._seconds = seconds

    async def run(self, call: Callable[P, T], *arguments: P.args, **_: P.kwargs) -> T:
        """Return the result of `call`.  Raises TimeoutError: if it takes too long; a call that has not begun is dropped then."""
        async with asyncio.timeout(self._seconds):
            return await asyncio.wrap_future(self._threads.submit(call, *arguments))

    def close(self) -> None:
        """End the threads when their calls have ended."""
        self._threads.close()
