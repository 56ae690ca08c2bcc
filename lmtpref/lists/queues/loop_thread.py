"""An event loop in a thread of its own, for engine clients that must not share the server's event loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class LoopThread:
    """A thread with an event loop that runs coroutines for any thread; the first coroutine starts it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running: concurrent.futures.Future[Any] | None = None
        self._starting = threading.Lock()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` and return its result.

        Raises TimeoutError: if `interrupt` is called meanwhile.
        """
        future = asyncio.run_coroutine_threadsafe(work, self._started())
        self._running = future
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise TimeoutError from None

    def interrupt(self) -> None:
        """Cancel the running coroutine."""
        if self._running:
            self._running.cancel()

    def close(self) -> None:
        """Stop the loop and end the thread."""
        with self._starting:
            if self._loop:
                self._loop.call_soon_threadsafe(self._loop.stop)
                self._thread.join()
                self._loop = None

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._starting:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._main, args=(self._loop,), name=self._name, daemon=True)
                self._thread.start()
            return self._loop

    @staticmethod
    def _main(loop: asyncio.AbstractEventLoop) -> None:
        loop.run_forever()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        with contextlib.suppress(Exception):
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
