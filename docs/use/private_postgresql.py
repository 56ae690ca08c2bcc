"""A PostgreSQL of our own: `private_postgresql.py COMMAND...` runs COMMAND with its URL in LMTP_SQL_URL.

It lives in a temporary directory, listens on a Unix socket there and nowhere else, and ends with COMMAND.  Exit codes
are COMMAND's, and 77 where PostgreSQL cannot be had: then one line says what was skipped, and why.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

SKIPPED_EXIT = 77
START_SECONDS = 30
DEBIAN = Path("/usr/lib/postgresql")  # where Debian keeps what its PATH has not


class MissingError(Exception):
    """PostgreSQL cannot be had here; the text says why, in one line."""


def main(command: Sequence[str]) -> int:
    """Run `command`; its exit code."""
    try:
        programs = find() or install()
    except MissingError as error:
        print(f"skipped: {' '.join(command)} on PostgreSQL: {error}")
        return SKIPPED_EXIT
    with cluster(programs) as url:
        print(f"{version(programs)} at {url}", flush=True)
        return subprocess.run(command, env={**os.environ, "LMTP_SQL_URL": url}, check=False).returncode


def find() -> Path | None:
    """Where initdb and postgres are, of the newest version; None if nowhere."""
    folders = sorted(DEBIAN.glob("*/bin"), key=lambda folder: float(folder.parent.name), reverse=True)
    folders += [Path(found).parent for found in [shutil.which("initdb")] if found]
    return next((folder for folder in folders if (folder / "initdb").exists() and (folder / "postgres").exists()), None)


def install() -> Path:
    """Where they are once Debian's package is installed; the cluster it brings is not started.  Raises MissingError."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise MissingError("it is not installed (Debian: apt-get install postgresql)")
    command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", "postgresql"]
    done = subprocess.run(command, env={**os.environ, "RUNLEVEL": "1"}, check=False)  # in which invoke-rc.d starts nothing
    if done.returncode or not (programs := find()):
        raise MissingError(f"apt-get install postgresql ended with {done.returncode}")
    return programs


def version(programs: Path) -> str:
    """What this PostgreSQL calls itself."""
    return subprocess.run([programs / "postgres", "--version"], capture_output=True, text=True, check=True).stdout.strip()


@contextlib.contextmanager
def cluster(programs: Path) -> Iterator[str]:
    """The URL of a cluster that is there for as long as this lasts; it is run by a user without privileges."""
    with tempfile.TemporaryDirectory(prefix="lmtpref-") as name:
        folder, user = Path(name), unprivileged()
        if user:
            os.chown(folder, user.pw_uid, user.pw_gid)
        account: dict[str, Any] = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}

        def start(program: str, *arguments: str) -> subprocess.Popen[bytes]:
            with (folder / "log").open("ab") as log:
                return subprocess.Popen([programs / program, "-D", "data", *arguments], cwd=folder, stdout=log, stderr=log, **account)

        start("initdb", "-U", "lists", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync").wait()
        server = start("postgres", "-c", "listen_addresses=", "-k", str(folder), "-c", "fsync=off")
        try:
            wait_for(programs, folder)
            yield f"postgresql+psycopg://lists@/postgres?host={folder}"
        finally:
            server.send_signal(signal.SIGINT)  # which to PostgreSQL means: end now, and in order
            server.wait()


def wait_for(programs: Path, folder: Path) -> None:
    """Return when the cluster in `folder` answers.  Raises RuntimeError, with the last line of its log, if it does not."""
    end = time.monotonic() + START_SECONDS
    while subprocess.run([programs / "pg_isready", "-q", "-h", folder], check=False).returncode:
        if time.monotonic() > end:
            raise RuntimeError(f"PostgreSQL does not start: {(folder / 'log').read_text().strip().splitlines()[-1]}")
        time.sleep(0.1)


def unprivileged() -> pwd.struct_passwd | None:
    """Who is to run it: PostgreSQL refuses to be run by root; None for whoever runs this."""
    if os.geteuid() != 0:
        return None
    accounts = {account.pw_name: account for account in pwd.getpwall()}
    return accounts.get("postgres") or accounts["nobody"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
