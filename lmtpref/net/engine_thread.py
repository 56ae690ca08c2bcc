"""An engine on an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import wait
from typing import Any, Self, TypeVar

from lmtpref.net.engine import GRACE_SECONDS, Engine
from lmtpref.protocol.errors import UsageError

T = TypeVar("T")


class EngineThread:
    """An engine on an event loop in a thread of its own, for callers without an event loop."""

    def __init__(self, engine: Engine, loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None) -> None:
        self._engine = engine
        self._loop_factory = loop_factory
        self._thread: threading.Thread | None = None
        self._started = threading.Event()
        self._error: BaseException | None = None
        self._grace_seconds = GRACE_SECONDS

    def start(self) -> Self:
        """Start serving; returns when connections are accepted.  Raises the engine's exception if it could not start."""
        self._started.clear()
        self._error = None
        self._thread = threading.Thread(target=self._main, name="lmtpref", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._error:
            self._thread.join()
            raise self._error
        return self

    def stop(self, grace_seconds: float = GRACE_SECONDS) -> None:
        """Stop within the time bound of `Engine.aclose`; do nothing if the engine was not started."""
        if self._thread and self._thread.is_alive():
            self._grace_seconds = grace_seconds
            # A hook may have ended the loop.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()
        self._thread = None

    async def wait(self) -> None:
        """Wait until the thread has ended."""
        if self._thread:
            await asyncio.to_thread(self._thread.join)

    @property
    def is_running(self) -> bool:
        """Whether it serves; a hook that raises SystemExit or KeyboardInterrupt stops it."""
        return self._thread is not None and self._thread.is_alive() and not self._engine.is_stopping

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` on the engine's loop, and return its result.  Raises UsageError if the server does not run, or stops meanwhile."""
        if not self.is_running:
            work.close()
            raise UsageError("the server is not running in a thread")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        while self.is_running and not future.done():
            wait([future], timeout=0.1)  # the loop may end before `work` does
        if not future.done() or future.cancelled():
            raise UsageError("the server has ended")
        return future.result()

    def _main(self) -> None:
        # A hook that raises SystemExit or KeyboardInterrupt ends the loop; leaving the runner then cancels _serve, which closes.
        with contextlib.suppress(SystemExit, KeyboardInterrupt), asyncio.Runner(loop_factory=self._loop_factory) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        try:
            await self._engine.serve()
        except BaseException as error:
            self._error = error
            return
        finally:
            self._started.set()
        try:
            await self._stop.wait()
        finally:
            await self._engine.aclose(self._grace_seconds)
