"""The queues of a server in a spool of Maildirs."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import re
import socket
import threading
import time
from pathlib import Path
from typing import Self

from lmtpref.lists.queues.group_commit import MAX_BATCH_ENTRIES, MAX_PENDING_ENTRIES, Committer
from lmtpref.lists.queues.maildir_writer import Disk, FileCommit, Maildir, MaildirWriter
from lmtpref.lists.queues.memory import QUEUES, Entry
from lmtpref.lists.queues.spool import Spool, maildir_name
from lmtpref.protocol.errors import UsageError

log = logging.getLogger(__name__)

CLOSE_SECONDS = 10.0  # the time that `close` waits for the disk

# Our names for files have the usual form for a Maildir, with a random part by which we recognise them.
_OURS = re.compile(r"\d+\.M\d{6}P\d+R[0-9a-f]{16}\..+")


@functools.lru_cache(maxsize=1024)
def _maildir(spool: Path, queue: str, address: str | None) -> Maildir:
    return Maildir.at(spool / queue / maildir_name(address))


class MaildirQueues(Spool):
    """Queues in a spool; a stored entry survives the end of the process and a crash of the machine.

    The folder is created if it is missing.  Unfinished files of an earlier process are removed, because their messages
    were never acknowledged; `leftovers` is their number.  At most `max_pending` entries wait for the disk, which stores up
    to `max_batch` at a time.

    Raises UsageError: if the folder cannot be created or locked.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        max_pending: int = MAX_PENDING_ENTRIES,
        max_batch: int = MAX_BATCH_ENTRIES,
        disk: Disk | None = None,
    ) -> None:
        self._disk = disk or Disk()
        lock, self.leftovers = _lock_spool(Path(path))
        self._lock: int | None = lock
        super().__init__(path)
        self._writer = MaildirWriter(self._disk)
        self._committer = Committer(self._writer.commit, max_pending=max_pending, max_batch=max_batch)
        self._names = _Names()

    @property
    def max_message_octets(self) -> None:
        """None: a file has no limit that a message reaches."""
        return

    async def open(self) -> None:
        """Do nothing: the constructor has opened the spool."""

    async def counts(self) -> dict[str, int]:
        """Return the number of entries in each queue."""
        return {name: len(queue) for name, queue in self.items()}

    async def aclose(self) -> bool:
        """Do the same as `close` without blocking the event loop."""
        return await asyncio.to_thread(self.close)

    @property
    def pending(self) -> int:
        """The number of entries that wait for the disk, including the current batch."""
        return self._committer.pending

    def put(self, entry: Entry) -> asyncio.Future[None] | None:
        """Store `entry` in its queue: in the background if an event loop runs, else before the method returns.

        An entry that fails, or whose future is cancelled before it is safe, is not stored.

        Raises OSError, from the method or from the future: if the disk fails.
        """
        commit = FileCommit(entry, maildir=_maildir(self.path, entry.queue, entry.list), name=self._names.next())
        return self._committer.put(commit)

    def close(self, seconds: float = CLOSE_SECONDS) -> bool:
        """Accept no more entries and wait up to `seconds` for the disk; return whether every entry was stored."""
        done = self._committer.close(seconds)
        if done:
            self._writer.close()
        if done and self._lock is not None:
            os.close(self._lock)
            self._lock = None
        return done

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Names:
    """A generator of file names that are unique in all processes and sort in the order of their creation."""

    def __init__(self) -> None:
        host = socket.gethostname().replace("/", r"\057").replace(":", r"\072")
        self._end = f"P{os.getpid()}R{os.urandom(8).hex()}.{host}"
        self._last = 0
        self._drawing = threading.Lock()

    def next(self) -> str:
        with self._drawing:
            self._last = max(self._last + 1, time.time_ns() // 1000)
            seconds, microseconds = divmod(self._last, 1_000_000)
        return f"{seconds}.M{microseconds:06}{self._end}"


def _lock_spool(path: Path) -> tuple[int, int]:
    """Create and lock the spool; return the descriptor of the lock and the number of leftovers.

    Only a process that finds no other at work removes leftovers from `tmp`.
    """
    try:
        import fcntl  # noqa: PLC0415 - only Unix has it
    except ImportError:
        raise UsageError("a spool needs Unix, whose file operations it relies on") from None
    try:
        Disk().make(path, *QUEUES)
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            leftovers = 0
        else:
            leftovers = _clean(path)
        fcntl.flock(lock, fcntl.LOCK_SH)
    except OSError as error:
        raise UsageError(f"{path}: cannot hold a spool: {error.strerror}") from None
    return lock, leftovers


def _clean(path: Path) -> int:
    """Remove unfinished files of this program from `tmp`, but not those of other programs; return their number."""
    begun = [file for queue in QUEUES for file in path.glob(f"{queue}/*/tmp/*") if _OURS.fullmatch(file.name)]
    for file in begun:
        file.unlink(missing_ok=True)
    if begun:
        log.warning("%s: %d unfinished files of an earlier process removed; none of them was acknowledged", path, len(begun))
    return len(begun)
