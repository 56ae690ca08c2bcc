"""Spools: a Maildir for each queue and list, in which entries survive a crash; `maildir_writer` writes the files."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lmtpref.lists.addresses import fold_address
from lmtpref.lists.arrivals import Arrivals
from lmtpref.lists.queues.entry_file import pack, unpack
from lmtpref.lists.queues.maildir_writer import FOLDERS, Disk, Maildir
from lmtpref.lists.queues.memory import QUEUES, Entry
from lmtpref.lists.queues.summary import summary_of
from lmtpref.protocol.errors import UsageError

# The Maildir of mail for postmaster.  The name of a list's Maildir has an @.
POSTMASTER = "postmaster"
# The longest name of a Maildir; file systems allow 255 octets.
MAX_NAME_OCTETS = 200


def maildir_name(address: str | None) -> str:
    """Return the name of a list's Maildir; None stands for postmaster.

    The name is the address in lower case, with unsafe characters percent-encoded; a name that is too long ends in a
    digest.
    """
    if address is None:
        return POSTMASTER
    name = re.sub(r"^\.", "%2E", quote(fold_address(address), safe="@+="))
    if len(name) <= MAX_NAME_OCTETS:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()
    return f"{name[: MAX_NAME_OCTETS - len(digest) - 2]}%%{digest}"


@dataclass(frozen=True, slots=True, order=True)
class Stored:
    """The file of an entry; files sort in the order of arrival."""

    id: str
    path: Path

    @property
    def queue(self) -> str:
        """The queue of the entry."""
        return self.path.parents[2].name

    def entry(self) -> Entry:
        """Read and return the entry.

        Raises DamagedEntryError: if the file is not a whole entry.
        Raises FileNotFoundError: if the file is gone.
        """
        return unpack(self.path.read_bytes())

    @property
    def arrived(self) -> float:
        """The time at which the entry was stored, in seconds since 1970."""
        seconds = self.id.partition(".")[0]
        return float(seconds) if seconds.isdecimal() else self.path.stat().st_mtime

    @property
    def place(self) -> str:
        """The path of the file."""
        return str(self.path)

    def summary(self) -> dict[str, Any]:
        """Return the entry's line of a list of entries.  Raises the same exceptions as `entry`."""
        return summary_of(self.entry())

    def remove(self) -> None:
        """Remove the entry from the queue durably.

        Raises FileNotFoundError: if it was removed or moved meanwhile.
        """
        with self._locked():
            self.path.unlink()
        Disk().sync(self.path.parent)

    def move(self, queue: str, entry: Entry | None = None) -> None:
        """Move the entry to another queue; if `entry` is given, replace it with that.

        A changed file is complete in its new place before the old one is removed.  A crash between the two steps leaves
        both, under the same name.

        Raises FileNotFoundError: if it was removed or moved meanwhile.
        """
        disk, target = Disk(), Maildir.at(self.path.parents[3] / queue / self.path.parents[1].name)
        disk.make(target.path, *FOLDERS)
        with self._locked():
            source = self.path
            if entry:
                source = target.tmp / self.id
                disk.remove(source)
                disk.write(source, *pack(entry))
            disk.rename(source, target.new / self.id)
            disk.sync(target.new)
            if entry:
                disk.remove(self.path)
        disk.sync(self.path.parent)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Exclude others that move or remove entries of the Maildir; they wait, and then find that the entry is gone.

        The lock is on the folder, because a consumer that claims an entry locks its file for as long as it works.
        """
        import fcntl  # noqa: PLC0415 - only Unix has it

        try:
            folder = os.open(self.path.parents[1], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise self._gone() from None
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            if not self.path.exists():
                raise self._gone()
            yield
        finally:
            os.close(folder)

    def _gone(self) -> FileNotFoundError:
        return FileNotFoundError(errno.ENOENT, f"it is no longer in {self.queue}")


class MaildirQueue(Arrivals[Entry]):
    """A queue of a spool: the entries of all lists, oldest first.

    Iterating does not remove entries; `take` does.  A mail reader may move files from `new` to `cur`; they stay in the
    queue.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def stored(self) -> list[Stored]:
        """Return the files of the entries without opening them."""
        return sorted(Stored(name.partition(":")[0], Path(path)) for name, path in self._files())

    def take(self) -> list[Entry]:
        """Remove all entries and return them.

        Raises DamagedEntryError: if a file is not a whole entry; the queue is then unchanged.
        """
        files = self.stored()
        entries = [file.entry() for file in files]
        for file in files:
            file.remove()
        return entries

    def __iter__(self) -> Iterator[Entry]:
        for file in self.stored():
            # A file may have been removed or moved meanwhile.
            with contextlib.suppress(FileNotFoundError):
                yield file.entry()

    def __len__(self) -> int:
        return sum(1 for _ in self._files())

    def _files(self) -> Iterator[tuple[str, str]]:
        """Yield the name and path of every regular file."""
        for maildir in _scan(self._folder):
            for folder in "new", "cur":
                yield from ((file.name, file.path) for file in _scan(f"{maildir.path}/{folder}") if file.is_file())


def _scan(folder: Path | str) -> Iterator[os.DirEntry[str]]:
    """Yield the contents of `folder`, except names that begin with a dot; nothing if the folder does not exist."""
    try:
        with os.scandir(folder) as found:
            yield from (item for item in found if not item.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return


class Spool(Mapping[str, MaildirQueue]):
    """The queues of the spool in the folder `path`, by name, for reading.

    Raises UsageError: if the folder is not a spool.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        try:
            is_spool = all((self.path / name).is_dir() for name in QUEUES)
        except (OSError, ValueError):  # too long, or not a valid path
            is_spool = False
        if not is_spool:
            raise UsageError(f"{path}: not a spool")
        self._queues = {name: MaildirQueue(self.path / name) for name in QUEUES}

    def find(self, identifier: str) -> Stored:
        """Return the file of that name.

        Raises KeyError: if no entry has it.
        """
        for queue in self.values():
            for file in queue.stored():
                if file.id == identifier:
                    return file
        raise KeyError(identifier)

    def clear(self) -> None:
        """Remove all entries from every queue."""
        for queue in self.values():
            for file in queue.stored():
                file.remove()

    def __getitem__(self, name: str) -> MaildirQueue:
        return self._queues[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._queues)

    def __len__(self) -> int:
        return len(self._queues)
