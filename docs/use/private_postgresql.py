"""A PostgreSQL of our own: `private_postgresql.py COMMAND...` runs COMMAND with its URL in LMTP_SQL_URL.

It lives in a temporary directory, listens on a Unix socket there and nowhere else, and ends with COMMAND.  Exit codes
are COMMAND's, and 77 where PostgreSQL cannot be had: then one line says what was skipped, and why.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.append(str(Path(__file__).resolve().parents[1] / "mta"))

from debian import CACHE, MissingToolError, run, unpacked  # found by the line above

SKIPPED_EXIT = 77
START_SECONDS = 30
SYSTEM_CACHE = Path("/var/cache/lmtpref")  # root's own is for no other user to read, and root may not run PostgreSQL


class Programs(NamedTuple):
    """Where PostgreSQL's programs are, and the environment that they need."""

    folder: Path
    environment: Mapping[str, str]

    @property
    def version(self) -> str:
        """Return the name and version of this PostgreSQL."""
        return run(self.folder / "postgres", "--version", environment=self.environment).strip()


def main(command: Sequence[str]) -> int:
    """Run `command`; its exit code."""
    try:
        programs = installed() or from_debian()
    except MissingToolError as error:
        print(f"skipped: {' '.join(command)} on PostgreSQL: {error}")
        return SKIPPED_EXIT
    with cluster(programs) as url:
        print(f"{programs.version} at {url}", flush=True)
        return subprocess.run(command, env={**os.environ, "LMTP_SQL_URL": url}, check=False).returncode


def installed(root: Path = Path("/")) -> Programs | None:
    """Return the newest installed programs; None if no version is installed."""
    folders = sorted(root.glob("usr/lib/postgresql/*/bin"), key=lambda folder: float(folder.parent.name), reverse=True)
    folders += [Path(found).parent for found in [shutil.which("initdb")] if found]
    complete = (folder for folder in folders if all((folder / name).exists() for name in ("initdb", "postgres", "pg_isready")))
    return next((Programs(folder, dict(os.environ)) for folder in complete), None)


def from_debian() -> Programs:
    """Those of Debian's package, unpacked without installing it.  Raises MissingToolError."""
    if not shutil.which("apt-cache"):
        raise MissingToolError("it is not installed, and there is no apt-get to have it from Debian")
    if not (found := re.search(r"postgresql-\d+", run("apt-cache", "depends", "postgresql"))):
        raise MissingToolError("it is not installed, and apt-get knows of no package `postgresql`")
    client = found[0].replace("postgresql", "postgresql-client")
    tree = unpacked(found[0], client, cache=SYSTEM_CACHE if unprivileged() else CACHE)
    programs = installed(tree.root)
    assert programs, f"no programs in {tree.root}"
    return programs._replace(environment=tree.environment)


@contextlib.contextmanager
def cluster(programs: Programs) -> Iterator[str]:
    """The URL of a cluster that is there for as long as this lasts; it is run by a user without privileges."""
    with tempfile.TemporaryDirectory(prefix="lmtpref-") as name:
        folder, user = Path(name), unprivileged()
        if user:
            os.chown(folder, user.pw_uid, user.pw_gid)
        account: dict[str, Any] = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}

        def start(program: str, *arguments: str) -> subprocess.Popen[Any]:
            command = [str(programs.folder / program), "-D", "data", *arguments]
            with (folder / "log").open("ab") as log:
                return subprocess.Popen(command, cwd=folder, env=programs.environment, stdout=log, stderr=log, **account)

        start("initdb", "-U", "lists", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync").wait()
        server = start("postgres", "-c", "listen_addresses=", "-k", str(folder), "-c", "fsync=off")
        try:
            wait_for(programs, folder)
            yield f"postgresql+psycopg://lists@/postgres?host={folder}"
        finally:
            server.send_signal(signal.SIGINT)  # which to PostgreSQL means: end now, and in order
            server.wait()


def wait_for(programs: Programs, folder: Path) -> None:
    """Return when the cluster in `folder` answers.  Raises RuntimeError, with the last line of its log, if it does not."""
    end = time.monotonic() + START_SECONDS
    command = [str(programs.folder / "pg_isready"), "-q", "-h", str(folder)]
    while subprocess.run(command, env=programs.environment, check=False).returncode:
        if time.monotonic() > end:
            raise RuntimeError(f"PostgreSQL does not start: {(folder / 'log').read_text().strip().splitlines()[-1]}")
        time.sleep(0.1)


def unprivileged() -> pwd.struct_passwd | None:
    """Return the user that runs it if we are root, because PostgreSQL does not run as root; else None."""
    if os.geteuid() != 0:
        return None
    accounts = {account.pw_name: account for account in pwd.getpwall()}
    return accounts.get("postgres") or accounts["nobody"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
