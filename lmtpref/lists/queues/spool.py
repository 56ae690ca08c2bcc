"""A spool: a Maildir for every queue and list, in which an entry survives a crash."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import logging
import os
import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import quote

from lmtpref.lists.addresses import fold_address
from lmtpref.lists.arrivals import Arrivals
from lmtpref.lists.queues.entry_file import unpack
from lmtpref.lists.queues.group_commit import MAX_BATCH_ENTRIES, MAX_PENDING_ENTRIES, Commit, Committer, Disk, Maildir
from lmtpref.lists.queues.memory import QUEUES, Entry
from lmtpref.protocol.errors import UsageError

log = logging.getLogger(__name__)

CLOSE_SECONDS = 10.0  # how long closing waits for the disk
POSTMASTER = "postmaster"  # the Maildir of what went to no list; a list's has an @
MAX_NAME_OCTETS = 200  # of a Maildir's name; file systems bear 255

# As others name files in a Maildir, with a number that no other process draws; the random part tells ours.
_OURS = re.compile(r"\d+\.M\d{6}P\d+R[0-9a-f]{16}\..+")


def maildir_name(address: str | None) -> str:
    """The name of the Maildir of a list; None stands for postmaster.

    The address without case, and whatever is not plainly safe in a name percent-encoded; what would be too long ends
    in a digest instead.
    """
    if address is None:
        return POSTMASTER
    name = re.sub(r"^\.", "%2E", quote(fold_address(address), safe="@+="))
    if len(name) <= MAX_NAME_OCTETS:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()
    return f"{name[: MAX_NAME_OCTETS - len(digest) - 2]}%%{digest}"


@functools.lru_cache(maxsize=1024)
def _maildir(spool: Path, queue: str, address: str | None) -> Maildir:
    return Maildir.at(spool / queue / maildir_name(address))


@dataclass(frozen=True, slots=True, order=True)
class Stored:
    """A file that holds an entry.  Sorted, they are in the order of their arrival."""

    id: str
    path: Path

    @property
    def queue(self) -> str:
        """The queue it is in."""
        return self.path.parents[2].name

    def entry(self) -> Entry:
        """What it holds, read now.  Raises DamagedEntryError, or FileNotFoundError if it is no longer there."""
        return unpack(self.path.read_bytes())

    def remove(self) -> None:
        """Take it out of the queue; done when it is sure not to come back."""
        self.path.unlink()
        Disk().sync(self.path.parent)


class MaildirQueue(Arrivals[Entry]):
    """A queue of a spool: its entries, oldest first, whichever list they are of; reading it does not empty it.

    A mail reader that moves a file from `new` to `cur` does not take it out of the queue.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def stored(self) -> list[Stored]:
        """The files, none of them opened."""
        return sorted(Stored(name.partition(":")[0], Path(path)) for name, path in self._files())

    def take(self) -> list[Entry]:
        """The entries, which are no longer in the queue.  Raises DamagedEntryError, with the queue as it was."""
        files = self.stored()
        entries = [file.entry() for file in files]
        for file in files:
            file.remove()
        return entries

    def __iter__(self) -> Iterator[Entry]:
        for file in self.stored():
            with contextlib.suppress(FileNotFoundError):  # taken out, or moved, since we looked
                yield file.entry()

    def __len__(self) -> int:
        return sum(1 for _ in self._files())

    def _files(self) -> Iterator[tuple[str, str]]:
        """Name and path of every file."""
        for maildir in _scan(self._folder):
            for folder in "new", "cur":
                yield from ((file.name, file.path) for file in _scan(f"{maildir.path}/{folder}"))


def _scan(folder: Path | str) -> Iterator[os.DirEntry[str]]:
    """What is in `folder`; nothing if it is not there.  Names that begin with a dot are nobody's."""
    try:
        with os.scandir(folder) as found:
            yield from (item for item in found if not item.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return


class Spool(Mapping[str, MaildirQueue]):
    """The queues of the spool in the folder `path`, by name, to be read.  Raises UsageError if it is no spool."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        try:
            is_spool = all((self.path / name).is_dir() for name in QUEUES)
        except (OSError, ValueError):  # a path that is too long, or no path at all
            is_spool = False
        if not is_spool:
            raise UsageError(f"{path}: not a spool")
        self._queues = {name: MaildirQueue(self.path / name) for name in QUEUES}

    def find(self, identifier: str) -> Stored:
        """The file of that name.  Raises KeyError if there is none."""
        for queue in self.values():
            for file in queue.stored():
                if file.id == identifier:
                    return file
        raise KeyError(identifier)

    def clear(self) -> None:
        """Empty every queue."""
        for queue in self.values():
            for file in queue.stored():
                file.remove()

    def __getitem__(self, name: str) -> MaildirQueue:
        return self._queues[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._queues)

    def __len__(self) -> int:
        return len(self._queues)


class MaildirQueues(Spool):
    """Queues that keep their entries in a spool: what `put` has kept survives the process, and the machine's crash.

    The folder is made if it is missing, and what an earlier process had not finished is taken away: it was never
    acknowledged, and `leftovers` says how many there were.  At most `max_pending` entries wait for the disk, which takes
    up to `max_batch` at a time.  Raises UsageError for a folder that cannot be had.
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
        lock, self.leftovers = _occupy(Path(path))
        self._lock: int | None = lock
        super().__init__(path)
        self._committer = Committer(self._disk, max_pending, max_batch)
        self._names = _Names()

    @property
    def pending(self) -> int:
        """How many entries wait for the disk, those it is at work on included."""
        return self._committer.pending

    def put(self, entry: Entry) -> asyncio.Future[None] | None:
        """Keep `entry` in its queue: on a running loop in the background, else before this returns.

        What it raises, now or later, is an OSError where it is the disk that fails; nothing of the entry is then kept.
        An entry whose future is cancelled before it is safe is not kept either.
        """
        commit = Commit(entry, _maildir(self.path, entry.queue, entry.list), self._names.next())
        with contextlib.suppress(RuntimeError):  # no loop
            commit.future = asyncio.get_running_loop().create_future()
        if commit.future is None:
            self._committer.commit_now(commit)
        else:
            self._committer.add(commit)
        return commit.future

    def close(self, seconds: float = CLOSE_SECONDS) -> bool:
        """Take no more, and wait up to `seconds` for the disk; whether everything was kept that was put."""
        done = self._committer.close(seconds)
        if done and self._lock is not None:
            os.close(self._lock)
            self._lock = None
        return done

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Names:
    """Names for files: no two alike, in any process, and in the order in which they were drawn."""

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


def _occupy(path: Path) -> tuple[int, int]:
    """Make the spool: a descriptor that keeps it locked, and how many leftovers there were.

    The first process to come takes away what others left in `tmp`; one that finds others at work takes nothing.
    """
    try:
        import fcntl  # noqa: PLC0415 - it may not be there
    except ImportError:
        raise UsageError("a spool needs Unix: its files are renamed, locked and synced as only Unix does it") from None
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
        raise UsageError(f"{path}: no spool can be here: {error.strerror}") from None
    return lock, leftovers


def _clean(path: Path) -> int:
    """Remove what we began and did not finish; what other programs write in `tmp` is theirs."""
    begun = [file for queue in QUEUES for file in path.glob(f"{queue}/*/tmp/*") if _OURS.fullmatch(file.name)]
    for file in begun:
        file.unlink(missing_ok=True)
    if begun:
        log.warning("%s: %d unfinished files of an earlier process removed; none of them was acknowledged", path, len(begun))
    return len(begun)
