"""Write entries into Maildirs: a batch is written, synced, renamed and synced again."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from lmtpref.lists.queues.entry_file import pack
from lmtpref.lists.queues.group_commit import Commit

log = logging.getLogger(__name__)

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


@dataclass(slots=True, eq=False, kw_only=True)
class FileCommit(Commit):
    """An entry on its way to a file: its Maildir, and the file's name there."""

    maildir: Maildir
    name: str

    @property
    def unfinished(self) -> Path:
        """Where it is written."""
        return self.maildir.tmp / self.name

    @property
    def finished(self) -> Path:
        """Where it is when it is whole."""
        return self.maildir.new / self.name


class MaildirWriter:
    """Keeps batches of entries on a disk.

    A batch is: write and sync every file in `tmp`, several at a time; rename all into `new`; sync every `new` once.
    If a step fails, it fails for the entries that it was taken for, and is not repeated.
    """

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._made: set[Maildir] = set()
        self._writers = ThreadPoolExecutor(WRITERS, thread_name_prefix="lmtpref-writer")

    def close(self) -> None:
        """End the threads."""
        self._writers.shutdown()

    def commit(self, batch: list[FileCommit]) -> None:
        """Store the entries of `batch`; give each that failed its error."""
        alone = [[commit] for commit in batch]
        together: dict[Maildir, list[FileCommit]] = {}
        for commit in batch:
            together.setdefault(commit.maildir, []).append(commit)
        self._each(self._make, together.values())
        self._each(self._write, alone)
        for commits in alone:
            self._attempt(self._rename, commits)
        self._each(self._sync, together.values())
        for commit in batch:
            if commit.abandoned:
                self._undo(commit)

    def _each(self, step: Callable[[list[FileCommit]], None], groups: Collection[list[FileCommit]]) -> None:
        """Take a step for every group, several groups at a time."""
        if len(groups) == 1:
            for commits in groups:
                self._attempt(step, commits)
        else:
            list(self._writers.map(lambda commits: self._attempt(step, commits), groups))

    def _attempt(self, step: Callable[[list[FileCommit]], None], commits: list[FileCommit]) -> None:
        """Take a step for the entries that have not failed yet; if it fails, it fails for all of them."""
        alive = [commit for commit in commits if not commit.abandoned]
        try:
            if alive:
                step(alive)
        except BaseException as error:  # noqa: BLE001 - raised again where each entry is waited for; the thread must go on
            for commit in alive:
                commit.error = error

    def _make(self, commits: list[FileCommit]) -> None:
        maildir = commits[0].maildir
        # Per process: an earlier process that was killed may have made the folders and not synced them.
        if maildir not in self._made:
            self._disk.make(maildir.path, *FOLDERS)
            self._made.add(maildir)

    def _write(self, commits: list[FileCommit]) -> None:
        for commit in commits:
            self._disk.write(commit.unfinished, *pack(commit.entry))

    def _rename(self, commits: list[FileCommit]) -> None:
        for commit in commits:
            self._disk.rename(commit.unfinished, commit.finished)

    def _sync(self, commits: list[FileCommit]) -> None:
        self._disk.sync(commits[0].maildir.new)

    def _undo(self, commit: FileCommit) -> None:
        """Remove the files of an entry that will not be acknowledged."""
        self._made.discard(commit.maildir)  # it may have been removed
        for path in commit.unfinished, commit.finished:
            try:
                self._disk.remove(path)
            except OSError:
                log.exception("an entry that was not acknowledged may remain")
