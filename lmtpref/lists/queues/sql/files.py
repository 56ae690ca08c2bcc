"""The file of a SQLite database, which must be private and on a local disk."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from sqlalchemy import Engine, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry

from lmtpref.lists.queues.interface import QueueUnreachableError
from lmtpref.protocol.errors import UsageError

# The device and the inode.
FileIdentity = tuple[int, int]

FILE_MODE = 0o600
MOUNTS = Path("/proc/self/mountinfo")

# SQLite's locks and its WAL, which is shared memory, do not work across machines (sqlite.org/wal.html, sqlite.org/faq.html).
NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "gfs2", "ocfs2", "fuse.sshfs", "fuse.glusterfs"}
)


def prepare_file(file: Path, mounts: Path = MOUNTS) -> None:
    """Create the database's file if it is missing, readable for its owner only.

    Raises UsageError: if the file cannot be used.
    """
    _check_file_system(file, mounts)
    try:
        if not file.exists():
            os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE))
            _sync(file.absolute().parent)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from None
    check_file(file, mounts)


def check_file(file: Path, mounts: Path = MOUNTS) -> FileIdentity:
    """Return the identity of the database's file.

    Raises UsageError: if the file is missing or cannot be used.
    """
    _check_file_system(file, mounts)
    try:
        found = file.stat()
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from None
    if not stat.S_ISREG(found.st_mode) or not os.access(file, os.R_OK | os.W_OK):
        raise UsageError(f"{file}: cannot be read and written")
    if found.st_mode & 0o077:
        raise UsageError(f"{file}: other users may read it; mode {FILE_MODE:o} keeps messages private")
    return found.st_dev, found.st_ino


def watch_file(engine: Engine, file: Path) -> None:
    """Let connections use only the file that has the name now, because what is written to a removed file is lost.

    A new connection never creates the file; if it cannot use the file, it raises QueueUnreachableError.
    """

    def check(_dialect: object, record: ConnectionPoolEntry, *_: object) -> None:
        try:
            record.info["file"] = check_file(file)
        except UsageError as error:
            raise QueueUnreachableError(str(error)) from None

    def compare(_connection: object, record: ConnectionPoolEntry, _proxy: object) -> None:
        if record.info["file"] != _identity_of(file):
            raise DisconnectionError

    event.listen(engine, "do_connect", check)
    event.listen(engine, "checkout", compare)


def _identity_of(file: Path) -> FileIdentity | None:
    """Return the identity of the file; None if it is missing."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _check_file_system(file: Path, mounts: Path) -> None:
    kind = file_system_of(file.absolute(), mounts)
    if kind in NETWORK_FILE_SYSTEMS:
        raise UsageError(f"{file}: SQLite does not work on a network file system ({kind}); PostgreSQL serves several machines")


def file_system_of(file: Path, mounts: Path = MOUNTS) -> str:
    """Return the type of the file system of `file`, from proc(5)'s mountinfo; empty if it is unknown."""
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return ""
    best, kind = "", ""
    for line in lines:
        left, _, right = line.partition(" - ")
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), left.split(" ")[4])
        if len(point) >= len(best) and file.parent.resolve().is_relative_to(point):
            best, kind = point, right.split(" ")[0]
    return kind


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
