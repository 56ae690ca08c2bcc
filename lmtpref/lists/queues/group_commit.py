"""Group commit: entries that arrive while a store is busy are committed together, and share the wait."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from lmtpref.lists.queues.memory import Entry

MAX_PENDING_ENTRIES = 16_384  # more than the connections of one server; beyond: 452 4.3.1
MAX_BATCH_ENTRIES = 512  # of one commit, so that the first of a batch does not wait for thousands
MAX_ENTRIES_A_TURN = 64  # completed before other connections have their turn
CHECKS_A_TIMEOUT = 8  # how often the watchdog looks; a client hears at most an eighth of the timeout late


@dataclass(slots=True, eq=False)
class Commit:
    """One entry on its way into a store; `error` is what failed, None when it is stored."""

    entry: Entry
    future: asyncio.Future[None] | None = None
    error: BaseException | None = None
    since: float = field(default_factory=time.monotonic)

    @property
    def abandoned(self) -> bool:
        """Whether no client waits for it any more, so that it need not be stored."""
        return self.error is not None or (self.future is not None and self.future.cancelled())


C = TypeVar("C", bound=Commit)


class Committer(Generic[C]):
    """Commits entries in batches, in one thread: those that arrive while it is busy are the next batch.

    `commit` stores a batch and gives each entry that failed its `error`.  Without `timeout_seconds` an entry waits as long as the
    store takes.  With it, an entry that waits longer fails with TimeoutError, and `interrupt` is called to make a stalled `commit` return.
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
        self._closed = False
        self._ended = threading.Event()
        self._started = False

    @property
    def pending(self) -> int:
        """The number of entries that wait, those of the batch at work included."""
        return len(self._pending) + len(self._busy)

    def add(self, commit: C) -> None:
        """Put it into the next batch.  Raises OSError if too many wait, or after `close`."""
        with self._changed:
            if self._closed:
                raise OSError(errno.ESHUTDOWN, "the queue is closed")
            if self.pending >= self._max_pending:
                raise OSError(errno.EAGAIN, "too many entries wait to be kept")
            self._pending.append(commit)
            if not self._started:
                self._start()
            self._changed.notify()

    def commit_now(self, commit: C) -> None:
        """Commit it before this returns, in the caller's thread.  Raises what failed."""
        if self._closed:
            raise OSError(errno.ESHUTDOWN, "the queue is closed")
        self._commit([commit])
        if commit.error:
            raise commit.error

    def close(self, seconds: float) -> bool:
        """Take no more, and wait up to `seconds` for what is under way; return whether all of it is done."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            done = self._changed.wait_for(lambda: not self._pending and not self._busy, seconds)
        self._ended.set()
        return done

    def _start(self) -> None:
        self._started = True
        threading.Thread(target=self._run, name="lmtpref-committer", daemon=True).start()
        if self._timeout_seconds:
            threading.Thread(target=self._watch, args=(self._timeout_seconds,), name="lmtpref-watchdog", daemon=True).start()

    def _run(self) -> None:
        while batch := self._next():
            self._attempt(batch)
            tell(batch)
            with self._changed:
                self._busy = ()
                self._changed.notify_all()

    def _next(self) -> list[C]:
        """Wait for entries, and return them; return none once all is done and closed."""
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
        """Fail the entries that wait for too long, until `close`."""
        while not self._ended.wait(timeout_seconds / CHECKS_A_TIMEOUT):
            if self._expire(time.monotonic() - timeout_seconds):
                self._interrupt()

    def _expire(self, oldest: float) -> bool:
        """Fail every entry that has waited since before `oldest`; return whether the batch at work has one."""
        with self._changed:
            stalled = [commit for commit in self._busy if commit.since < oldest and commit.error is None]
            late = [commit for commit in self._pending if commit.since < oldest]
            self._pending = self._pending[len(late) :]
            for commit in (*stalled, *late):
                commit.error = TimeoutError(errno.ETIMEDOUT, "the queue did not answer in time")
        tell((*stalled, *late))
        return bool(stalled)


def tell(batch: Iterable[Commit]) -> None:
    """Complete the futures of a batch, with one call into each loop; a loop that is closed has no client that waits."""
    loops: dict[asyncio.AbstractEventLoop, list[Commit]] = {}
    for commit in batch:
        if commit.future is not None:
            loops.setdefault(commit.future.get_loop(), []).append(commit)
    for loop, commits in loops.items():
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_complete, loop, commits)


def _complete(loop: asyncio.AbstractEventLoop, commits: list[Commit]) -> None:
    for commit in commits[:MAX_ENTRIES_A_TURN]:
        future = commit.future
        if future is None or future.done():
            continue
        if commit.error:
            future.set_exception(commit.error)
        else:
            future.set_result(None)
    if rest := commits[MAX_ENTRIES_A_TURN:]:
        loop.call_soon(_complete, loop, rest)
