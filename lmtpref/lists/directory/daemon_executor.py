"""A pool of daemon threads, which do not keep the process from ending."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")
_Job = tuple[Future[Any], Callable[..., Any], tuple[object, ...]]


class Threads:
    """A pool of at most `count` threads, which are started on demand.

    Unlike the threads of ThreadPoolExecutor they are daemons, so a process that ends does not wait for a database that
    does not answer.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def submit(self, call: Callable[..., T], *arguments: object) -> Future[T]:
        """Call `call` in a thread and return its future; if that is cancelled in time, `call` is not called."""
        future: Future[T] = Future()
        self._jobs.put((future, call, arguments))
        if len(self._threads) < self._count:
            thread = threading.Thread(target=self._work, name="lmtpref-directory", daemon=True)
            self._threads.append(thread)
            thread.start()
        return future

    def close(self) -> None:
        """End the threads after all submitted calls."""
        for _ in self._threads:
            self._jobs.put(None)
        self._threads.clear()

    def _work(self) -> None:
        while job := self._jobs.get():
            future, call, arguments = job
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call(*arguments))
                except BaseException as error:  # noqa: BLE001 - the future raises it again
                    future.set_exception(error)
