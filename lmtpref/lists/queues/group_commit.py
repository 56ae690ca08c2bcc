"""Group commit: entries that arrive while a store is busy are committed together in the next batch."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from lmtpref.lists.queues.memory import Entry

# More than the connections of one server; a client beyond that gets 452 4.3.1.
MAX_PENDING_ENTRIES = 16_384
# A limit for one commit, so that the first entry of a batch does not wait for thousands.
MAX_BATCH_ENTRIES = 512
# The turns of the event loop that a batch waits for more entries, as long as each turn brings some.
MAX_BATCH_TURNS = 8
# The entries completed before other connections get their turn.
MAX_ENTRIES_A_TURN = 64
# The watchdog's checks for each timeout, so a reply is late by at most an eighth of it.
CHECKS_A_TIMEOUT = 8


@dataclass(slots=True, eq=False)
class Commit:
    """One entry on its way into a store; `error` is the exception if that fails, and None if it succeeds."""

    entry: Entry
    future: asyncio.Future[None] | None = None
    error: BaseException | None = None
    since: float = field(default_factory=time.monotonic)

    @property
    def abandoned(self) -> bool:
        """Whether no client waits for the entry any more, so that it need not be stored."""
        return self.error is not None or (self.future is not None and self.future.cancelled())


C = TypeVar("C", bound=Commit)


class Committer(Generic[C]):
    """A thread that commits entries in batches; entries that arrive while it is busy form the next batch.

    `commit` stores a batch and sets the `error` of each entry that fails.  Without `timeout_seconds` an entry waits as long
    as the store needs.  With it, an entry that waits longer fails with TimeoutError, and `interrupt` is called to make a
    stalled `commit` return.
    """

    def __init__(
        self,
        commit: Callable[[list[C]], None],
        *,
        max_pending: int = MAX_PENDING_ENTRIES,
        max_batch: int = MAX_BATCH_ENTRIES,
        timeout_seconds: float | None = None,
        interrupt: Callable[[], None] = lambda: None,
    ) -> None:
        self._commit = commit
        self._max_pending = max_pending
        self._max_batch = max_batch
        self._timeout_seconds = timeout_seconds
        self._interrupt = interrupt
        self._changed = threading.Condition()
        self._pending: list[C] = []
        self._busy: Sequence[C] = ()
        self._finished: dict[asyncio.AbstractEventLoop, deque[C]] = {}
        self._closed = False
        self._ended = threading.Event()
        self._started = False
        # The event loop that will begin the next batch; another one that brings an entry does not rely on it.
        self._gathering: asyncio.AbstractEventLoop | None = None

    @property
    def pending(self) -> int:
        """The number of waiting entries, including those of the current batch."""
        return len(self._pending) + len(self._busy)

    def put(self, commit: C) -> asyncio.Future[None] | None:
        """Commit an entry: in the next batch, with a future, if an event loop runs; else before the method returns.

        Raises OSError, from the method or from the future: if the entry could not be stored.
        """
        with contextlib.suppress(RuntimeError):  # no running loop
            commit.future = asyncio.get_running_loop().create_future()
        if commit.future is None:
            self.commit_now(commit)
        else:
            self.add(commit)
        return commit.future

    def add(self, commit: C) -> None:
        """Add an entry to the next batch, which begins when a turn of the event loop brings no more entries.

        Raises OSError: if too many entries wait, or after `close`.
        """
        with self._changed:
            if self._closed:
                raise OSError(errno.ESHUTDOWN, "the queue is closed")
            if self.pending >= self._max_pending:
                raise OSError(errno.EAGAIN, "too many entries wait to be stored")
            self._pending.append(commit)
            loop = asyncio.get_running_loop()
            if self._gathering is not loop:
                self._gathering = loop
                loop.call_soon(self._begin, 0, MAX_BATCH_TURNS)

    def _begin(self, seen: int, turns: int) -> None:
        """Begin a batch, unless there are more entries than were `seen` a turn ago, and it may wait for more turns."""
        with self._changed:
            if turns and seen < len(self._pending) < self._max_batch:
                asyncio.get_running_loop().call_soon(self._begin, len(self._pending), turns - 1)
                return
            self._gathering = None
            self._start()
            self._changed.notify()

    def commit_now(self, commit: C) -> None:
        """Commit an entry in the caller's thread.

        Raises the exception that the store set: if the commit fails.
        """
        if self._closed:
            raise OSError(errno.ESHUTDOWN, "the queue is closed")
        self._commit([commit])
        if commit.error:
            raise commit.error

    def close(self, seconds: float) -> bool:
        """Accept no more entries and wait up to `seconds` for the waiting ones; return whether all are done."""
        with self._changed:
            self._closed = True
            self._start()
            self._changed.notify_all()
            done = self._changed.wait_for(lambda: not self._pending and not self._busy, seconds)
        self._ended.set()
        return done

    def _start(self) -> None:
        """Start the threads, unless they run or nothing is to be done."""
        if self._started or not self._pending:
            return
        self._started = True
        threading.Thread(target=self._run, name="lmtpref-committer", daemon=True).start()
        if self._timeout_seconds:
            threading.Thread(target=self._watch, args=(self._timeout_seconds,), name="lmtpref-watchdog", daemon=True).start()

    def _run(self) -> None:
        while batch := self._next():
            self._attempt(batch)
            self._resolve_futures(batch)
            with self._changed:
                self._busy = ()
                self._changed.notify_all()

    def _next(self) -> list[C]:
        """Wait for entries and return the next batch, which is empty only after `close`."""
        with self._changed:
            self._changed.wait_for(lambda: self._pending or self._closed)
            batch, self._pending = self._pending[: self._max_batch], self._pending[self._max_batch :]
            self._busy = batch
            return batch

    def _attempt(self, batch: list[C]) -> None:
        try:
            self._commit(batch)
        except BaseException as error:  # noqa: BLE001 - raised again where each entry is waited for; the thread must go on
            for commit in batch:
                commit.error = commit.error or error

    def _watch(self, timeout_seconds: float) -> None:
        """Until `close`, fail the entries that wait too long."""
        while not self._ended.wait(timeout_seconds / CHECKS_A_TIMEOUT):
            if self._expire(time.monotonic() - timeout_seconds):
                self._interrupt()

    def _expire(self, oldest: float) -> bool:
        """Fail every entry older than `oldest`; return whether the current batch has one."""
        with self._changed:
            stalled = [commit for commit in self._busy if commit.since < oldest and commit.error is None]
            late = [commit for commit in self._pending if commit.since < oldest]
            self._pending = self._pending[len(late) :]
            for commit in (*stalled, *late):
                commit.error = TimeoutError(errno.ETIMEDOUT, "the queue did not answer in time")
        self._resolve_futures((*stalled, *late))
        return bool(stalled)

    def _resolve_futures(self, batch: Iterable[C]) -> None:
        """Have the future of each entry completed in its event loop, which is woken once for all entries that wait there."""
        asleep = []
        with self._changed:
            for commit in batch:
                if commit.future is not None:
                    loop = commit.future.get_loop()
                    if loop not in self._finished:
                        self._finished[loop] = deque()
                        asleep.append(loop)
                    self._finished[loop].append(commit)
        for loop in asleep:
            try:
                loop.call_soon_threadsafe(self._complete, loop)
            except RuntimeError:  # the loop is closed, so no client waits
                del self._finished[loop]

    def _complete(self, loop: asyncio.AbstractEventLoop) -> None:
        """Complete the futures of the oldest entries, and of the others in later turns of the loop."""
        with self._changed:
            finished = self._finished[loop]
            commits = [finished.popleft() for _ in range(min(len(finished), MAX_ENTRIES_A_TURN))]
            if not finished:
                del self._finished[loop]
        for commit in commits:
            _settle(commit)
        if finished:
            loop.call_soon(self._complete, loop)


def _settle(commit: Commit) -> None:
    if commit.future is None or commit.future.done():
        return
    if commit.error:
        commit.future.set_exception(commit.error)
    else:
        commit.future.set_result(None)
