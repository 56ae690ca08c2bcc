"""The group commit: what waits to be kept is written together, and shares the waiting for the disk."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import threading
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from lmtpref.lists.queues.entry_file import pack
from lmtpref.lists.queues.memory import Entry

log = logging.getLogger(__name__)

MAX_PENDING_ENTRIES = 16_384  # more than the connections that a server bears; beyond: 452 4.3.1
MAX_BATCH_ENTRIES = 512  # of one commit, so that the first of a batch does not wait for thousands
MAX_ENTRIES_A_TURN = 64  # told of their end before other connections have their turn
WRITERS = 8  # files that are written and synced at the same time

FOLDERS = ("tmp", "new", "cur")  # of a Maildir


class Disk:
    """What a commit asks of the file system.  Every method raises OSError; the reference's own faults are made here."""

    def write(self, path: Path, *parts: bytes) -> None:
        """Make the file `path`, which there was not, and return when its octets are on the disk."""
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            for part in parts:
                rest = memoryview(part)
                while rest:
                    rest = rest[os.write(file, rest) :]
            os.fsync(file)
        finally:
            os.close(file)

    def sync(self, folder: Path) -> None:
        """Return when the names in `folder` are on the disk."""
        file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(file)
        finally:
            os.close(file)

    def rename(self, path: Path, target: Path) -> None:
        """Call the file `path` by another name, in the same file system."""
        path.rename(target)

    def remove(self, path: Path) -> None:
        """Take the file away, if it is there."""
        path.unlink(missing_ok=True)

    def make(self, folder: Path, *names: str) -> None:
        """Make `folder`, and folders with these names in it, where they are missing; return when all are on the disk."""
        missing = [above for above in folder.parents if not above.exists()]
        for made in (folder, *(folder / name for name in names)):
            made.mkdir(mode=0o700, parents=True, exist_ok=True)
        for changed in (folder, folder.parent, *(above.parent for above in missing)):
            self.sync(changed)


class Maildir(NamedTuple):
    """The folders of a Maildir: the whole, where a file is written, and where it is when it is whole."""

    path: Path
    tmp: Path
    new: Path

    @classmethod
    def at(cls, path: Path) -> Self:
        """The Maildir in the folder `path`."""
        return cls(path, path / "tmp", path / "new")


@dataclass(slots=True, eq=False)
class Commit:
    """One entry on its way to the disk: its Maildir, its file's name there, and what came of it."""

    entry: Entry
    maildir: Maildir
    name: str
    future: asyncio.Future[None] | None = None
    error: BaseException | None = None

    @property
    def unfinished(self) -> Path:
        """Where it is written."""
        return self.maildir.tmp / self.name

    @property
    def finished(self) -> Path:
        """Where it is when it is whole."""
        return self.maildir.new / self.name

    @property
    def given_up(self) -> bool:
        """Whether nobody waits for it any more, so that it had better not be kept."""
        return self.future is not None and self.future.cancelled()


class Committer:
    """Keeps entries on a disk, those that come while it is busy all in the next batch.

    A batch is: write and sync every file in `tmp`, several at a time; rename all into `new`; sync every `new` once; tell
    who waits, with one call into each loop, which does not tell of too many at once.  What fails concerns the entries that
    it was done for, and is not tried again.
    """

    def __init__(self, disk: Disk, max_pending: int, max_batch: int) -> None:
        self._disk = disk
        self._max_pending = max_pending
        self._max_batch = max_batch
        self._made: set[Maildir] = set()
        self._changed = threading.Condition()
        self._pending: list[Commit] = []
        self._busy = 0
        self._closed = False
        self._thread: threading.Thread | None = None
        self._writers = ThreadPoolExecutor(WRITERS, thread_name_prefix="lmtpref-writer")

    @property
    def pending(self) -> int:
        """How many entries wait, those of the batch at work included."""
        return len(self._pending) + self._busy

    def add(self, commit: Commit) -> None:
        """Let it be in the next batch.  Raises OSError if too many wait, or after `close`."""
        with self._changed:
            if self._closed:
                raise OSError(errno.ESHUTDOWN, "the spool is closed")
            if self.pending >= self._max_pending:
                raise OSError(errno.EAGAIN, "too many entries wait to be kept")
            self._pending.append(commit)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="lmtpref-committer", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def commit_now(self, commit: Commit) -> None:
        """Keep it before this returns, in the caller's thread.  Raises what failed."""
        if self._closed:
            raise OSError(errno.ESHUTDOWN, "the spool is closed")
        self.commit([commit])
        if commit.error:
            raise commit.error

    def close(self, seconds: float) -> bool:
        """Take no more, and wait that long for what is under way; whether all of it is done."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            done = self._changed.wait_for(lambda: not self._pending and not self._busy, seconds)
        if done:
            self._writers.shutdown()
        return done

    def commit(self, batch: list[Commit]) -> None:
        """Keep the entries of `batch`, now; afterwards each has its error, or none."""
        alone = [[commit] for commit in batch]
        together: dict[Maildir, list[Commit]] = {}
        for commit in batch:
            together.setdefault(commit.maildir, []).append(commit)
        self._each(self._make, together.values())
        self._each(self._write, alone)
        for commits in alone:
            self._attempt(self._rename, commits)
        self._each(self._sync, together.values())
        for commit in batch:
            if commit.error or commit.given_up:
                self._undo(commit)

    def _run(self) -> None:
        while batch := self._next():
            self.commit(batch)
            _tell(batch)
            with self._changed:
                self._busy = 0
                self._changed.notify_all()

    def _next(self) -> list[Commit]:
        """What has come meanwhile, waiting for it; nothing once all is done and closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._pending or self._closed)
            batch, self._pending = self._pending[: self._max_batch], self._pending[self._max_batch :]
            self._busy = len(batch)
            return batch

    def _each(self, step: Callable[[list[Commit]], None], groups: Collection[list[Commit]]) -> None:
        """Take a step for every group, several at a time."""
        if len(groups) == 1:
            for commits in groups:
                self._attempt(step, commits)
        else:
            list(self._writers.map(lambda commits: self._attempt(step, commits), groups))

    def _attempt(self, step: Callable[[list[Commit]], None], commits: list[Commit]) -> None:
        """Take a step for those that came so far; if it fails, it failed for all of them."""
        alive = [commit for commit in commits if commit.error is None and not commit.given_up]
        try:
            if alive:
                step(alive)
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for; the thread must go on
            for commit in alive:
                commit.error = error

    def _make(self, commits: list[Commit]) -> None:
        maildir = commits[0].maildir
        if maildir not in self._made:  # in this process: one that was killed may have made it, and not synced it
            self._disk.make(maildir.path, *FOLDERS)
            self._made.add(maildir)

    def _write(self, commits: list[Commit]) -> None:
        for commit in commits:
            self._disk.write(commit.unfinished, *pack(commit.entry))

    def _rename(self, commits: list[Commit]) -> None:
        for commit in commits:
            self._disk.rename(commit.unfinished, commit.finished)

    def _sync(self, commits: list[Commit]) -> None:
        self._disk.sync(commits[0].maildir.new)

    def _undo(self, commit: Commit) -> None:
        """Leave nothing of what will not be acknowledged."""
        self._made.discard(commit.maildir)  # perhaps somebody took it away
        for path in commit.unfinished, commit.finished:
            try:
                self._disk.remove(path)
            except OSError:
                log.exception("an entry that was not acknowledged may remain")


def _tell(batch: Iterable[Commit]) -> None:
    """Let those who wait know, with one call into each loop; a loop that is closed has nobody who waits."""
    loops: dict[asyncio.AbstractEventLoop, list[Commit]] = {}
    for commit in batch:
        if commit.future is not None:
            loops.setdefault(commit.future.get_loop(), []).append(commit)
    for loop, commits in loops.items():
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_settle, loop, commits)


def _settle(loop: asyncio.AbstractEventLoop, commits: list[Commit]) -> None:
    for commit in commits[:MAX_ENTRIES_A_TURN]:
        future = commit.future
        if future is None or future.done():
            continue
        if commit.error:
            future.set_exception(commit.error)
        else:
            future.set_result(None)
    if rest := commits[MAX_ENTRIES_A_TURN:]:
        loop.call_soon(_settle, loop, rest)
