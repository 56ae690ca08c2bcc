"""The writer of Maildirs: it writes, syncs and renames the files of a batch, and syncs the folders."""

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

WRITERS = 8  # files written and synced at the same time
FOLDERS = ("tmp", "new", "cur")  # of a Maildir


class Disk:
    """The operations of a commit on the file system, which tests replace to inject faults.  Every method raises OSError."""

    def write(self, path: Path, *parts: bytes) -> None:
        """Create the file `path`, which must not exist, and return when its octets are on the disk."""
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
        """Rename the file `path` within its file system."""
        path.rename(target)

    def remove(self, path: Path) -> None:
        """Remove the file if it exists."""
        path.unlink(missing_ok=True)

    def make(self, folder: Path, *names: str) -> None:
        """Create `folder` and the folders `names` in it if they are missing; return when all are on the disk."""
        missing = [above for above in folder.parents if not above.exists()]
        for made in (folder, *(folder / name for name in names)):
            made.mkdir(mode=0o700, parents=True, exist_ok=True)
        for changed in (folder, folder.parent, *(above.parent for above in missing)):
            self.sync(changed)


class Maildir(NamedTuple):
    """The folders of a Maildir: its own, `tmp` for files being written, and `new` for complete files."""

    path: Path
    tmp: Path
    new: Path

    @classmethod
    def at(cls, path: Path) -> Self:
        """Return the Maildir in the folder `path`."""
        return cls(path, path / "tmp", path / "new")


@dataclass(slots=True, eq=False, kw_only=True)
class FileCommit(Commit):
    """A commit of one entry to a file, with its Maildir and file name."""

    maildir: Maildir
    name: str

    @property
    def unfinished(self) -> Path:
        """The path while the file is being written."""
        return self.maildir.tmp / self.name

    @property
    def finished(self) -> Path:
        """The path of the complete file."""
        return self.maildir.new / self.name


class MaildirWriter:
    """A writer of batches of entries to a disk.

    For each batch it writes and syncs every file in `tmp`, several at a time, renames all into `new`, and syncs every
    `new` once.  A failed step is not repeated; it fails only the entries that the step was for.
    """

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._made: set[Maildir] = set()
        self._writers = ThreadPoolExecutor(WRITERS, thread_name_prefix="lmtpref-writer")

    def close(self) -> None:
        """Stop the threads."""
        self._writers.shutdown()

    def commit(self, batch: list[FileCommit]) -> None:
        """Store the entries of `batch` and set the error of each that fails."""
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
        """Perform `step` for every group, several groups at a time."""
        if len(groups) == 1:
            for commits in groups:
                self._attempt(step, commits)
        else:
            list(self._writers.map(lambda commits: self._attempt(step, commits), groups))

    def _attempt(self, step: Callable[[list[FileCommit]], None], commits: list[FileCommit]) -> None:
        """Perform `step` for the entries that have not failed yet; if it raises an exception, all of them fail."""
        alive = [commit for commit in commits if not commit.abandoned]
        try:
            if alive:
                step(alive)
        except BaseException as error:  # noqa: BLE001 - raised again where each entry is waited for; the thread must go on
            for commit in alive:
                commit.error = error

    def _make(self, commits: list[FileCommit]) -> None:
        maildir = commits[0].maildir
        # Repeated in each process, because a killed process may have created the folders without syncing them.
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
        # The folder may have been removed, so create it again next time.
        self._made.discard(commit.maildir)
        for path in commit.unfinished, commit.finished:
            try:
                self._disk.remove(path)
            except OSError:
                log.exception("an entry that was not acknowledged may remain")
