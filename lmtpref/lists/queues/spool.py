"""A spool: a Maildir for every queue and list, in which an entry survives a crash."""

from __future__ import annotations

import contextlib
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

POSTMASTER = "postmaster"  # the Maildir of what went to no list; a list's has an @
MAX_NAME_OCTETS = 200  # of a Maildir's name; file systems bear 255


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

    @property
    def arrived(self) -> float:
        """When it was stored, in seconds since 1970."""
        seconds = self.id.partition(".")[0]
        return float(seconds) if seconds.isdecimal() else self.path.stat().st_mtime

    @property
    def place(self) -> str:
        """The path of the file."""
        return str(self.path)

    def summary(self) -> dict[str, Any]:
        """Return what a list of entries says of it.  Raises as `entry`."""
        return summary_of(self.entry())

    def remove(self) -> None:
        """Take it out of the queue; done when it is sure not to come back."""
        self.path.unlink()
        Disk().sync(self.path.parent)

    def move(self, queue: str, entry: Entry | None = None) -> None:
        """Move it to another queue, changed to `entry` if that is given.

        The changed file is whole in its new place before the old one is removed: a crash between the two leaves both,
        under the same name.
        """
        disk, target = Disk(), Maildir.at(self.path.parents[3] / queue / self.path.parents[1].name)
        disk.make(target.path, *FOLDERS)
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
