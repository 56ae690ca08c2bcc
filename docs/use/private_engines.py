"""Queue engines of our own: a PostgreSQL and a RabbitMQ that a page starts, stalls, kills and starts again.

Each lives in a temporary directory, listens on loopback or on a Unix socket there, and ends with its `with` block.
`private_engines.py COMMAND PAGE...` runs COMMAND with the pages whose engines are here, and says in one line for each
other page what was skipped, and why; exit codes are COMMAND's, and 77 if no page is left.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path += [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1] / "mta")]

import private_postgresql  # found by the lines above
from debian import SEARCH, MissingToolError, unpacked
from ports import free_port

SKIPPED_EXIT = 77
START_SECONDS = 90  # Erlang takes its time on a busy machine
RABBITMQ = "/usr/lib/rabbitmq/bin/rabbitmq-server"
INITDB = ("-U", "lists", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")


class Engine:
    """A server process and all its children.  `start` starts it again after `signal`."""

    process: subprocess.Popen[bytes] | None = None

    def signal(self, number: int) -> None:
        """Send a signal to all its processes; return when all have ended, if that was SIGKILL."""
        assert self.process
        if number != signal.SIGCONT:
            # A stopped process starts no others while they are counted.
            _send(self.process.pid, signal.SIGSTOP)
        processes = family(self.process.pid)  # PostgreSQL's backends are process groups of their own
        for process in processes:
            _send(process, number)
        if number == signal.SIGKILL:
            self.process.wait()
            # A backend of PostgreSQL that has not ended yet keeps the shared memory, and a new server does not start beside it.
            _await_end(processes)

    def stop(self) -> None:
        """End it, if it runs."""
        if self.process and self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGKILL)

    def _run(self, command: Sequence[str], folder: Path, environment: Mapping[str, str], user: pwd.struct_passwd | None) -> None:
        account: dict[str, Any] = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
        with (folder / "output").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, **account
            )
        atexit.register(self.stop)  # for a page that fails before it closes what it opened

    def _await(self, answers: Callable[[], bool], folder: Path) -> None:
        """Return when the server answers.  Raises RuntimeError, with the end of its log, if it does not."""
        assert self.process
        end = time.monotonic() + START_SECONDS
        while not answers():
            if time.monotonic() > end or self.process.poll() is not None:
                raise RuntimeError(f"it does not start: {(folder / 'output').read_text()[-500:]}")
            time.sleep(0.1)


def family(parent: int) -> list[int]:
    """A process and all its descendants (proc(5), `children`)."""
    try:
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    except FileNotFoundError:
        return []
    return [parent, *(process for child in children for process in family(int(child)))]


class PostgreSQL(Engine):
    """A cluster with one database; settings are those of postgresql.conf."""

    def __init__(self, folder: Path, programs: private_postgresql.Programs) -> None:
        self.folder, self.programs = folder, programs
        self.user = private_postgresql.unprivileged()
        self.url = f"postgresql+psycopg://lists@/postgres?host={folder}"

    def start(self, **settings: str) -> None:
        """Start it, made if it is not there yet."""
        if not (self.folder / "data").exists():
            self._run([str(self.programs.folder / "initdb"), "-D", "data", *INITDB], self.folder, self.programs.environment, self.user)
            assert self.process
            self.process.wait()
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        command = [str(self.programs.folder / "postgres"), "-D", "data", "-c", "listen_addresses=", "-k", str(self.folder), *options]
        self._run(command, self.folder, self.programs.environment, self.user)
        ready = [str(self.programs.folder / "pg_isready"), "-q", "-h", str(self.folder)]
        self._await(lambda: not subprocess.run(ready, env=self.programs.environment, check=False).returncode, self.folder)


class RabbitMQ(Engine):
    """A broker with one node."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.distribution_port = free_port(), free_port()
        self.user = _unprivileged()
        self.environment = {
            **os.environ,
            "HOME": str(folder),
            "RABBITMQ_NODENAME": f"lmtpref{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.distribution_port),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(free_port()),
            "ERL_EPMD_RELAXED_COMMAND_CHECK": "1",  # lets `stop` end the port mapper, which has not heard yet that the node is gone
        }

    @property
    def url(self) -> str:
        """Return its URL."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        # Debian's /usr/sbin/rabbitmq-server changes the user; the script that it runs does not.
        self._run([RABBITMQ], self.folder, self.environment, self.user)
        self._await(lambda: _answers(self.port), self.folder)

    def control(self, *words: str) -> str:
        """Run rabbitmqctl with these arguments; return its output."""
        program = str(Path(RABBITMQ).with_name("rabbitmqctl"))
        command = [program, "-q", "-n", self.environment["RABBITMQ_NODENAME"], *words]
        account: dict[str, Any] = {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []} if self.user else {}
        ran = subprocess.run(command, env=self.environment, check=True, capture_output=True, text=True, cwd=self.folder, **account)
        return str(ran.stdout)

    def stop(self) -> None:
        """End it, and the port mapper of Erlang that it started."""
        super().stop()
        subprocess.run(["epmd", "-kill"], env=self.environment, check=False, capture_output=True)


def _send(process: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, number)


def _await_end(processes: Iterable[int]) -> None:
    """Return when all the processes have ended.  Raises RuntimeError if one does not."""
    end = time.monotonic() + START_SECONDS
    while running := [process for process in processes if _runs(process)]:
        if time.monotonic() > end:
            raise RuntimeError(f"these processes do not end: {running}")
        time.sleep(0.01)


def _runs(process: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not (proc(5), `stat`)."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _answers(port: int) -> bool:
    """Whether an AMQP server answers on a port: it says its protocol version to a client that says another."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            client.sendall(b"AMQP\0\0\1\0")
            return client.recv(4) == b"AMQP"
    except OSError:
        return False


def _unprivileged() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    accounts = {account.pw_name: account for account in pwd.getpwall()}
    return accounts.get("rabbitmq") or accounts["nobody"]


@contextlib.contextmanager
def postgresql(**settings: str) -> Iterator[PostgreSQL]:
    """A cluster for as long as this lasts.  Raises MissingToolError."""
    programs = private_postgresql.installed() or private_postgresql.from_debian()
    with tempfile.TemporaryDirectory(prefix="lmtpref-") as name:
        cluster = PostgreSQL(Path(name), programs)
        if cluster.user:
            os.chown(name, cluster.user.pw_uid, cluster.user.pw_gid)
        try:
            cluster.start(**settings)
            yield cluster
        finally:
            cluster.stop()


@contextlib.contextmanager
def rabbitmq() -> Iterator[RabbitMQ]:
    """A broker for as long as this lasts.  Raises MissingToolError."""
    _check_rabbitmq()
    with tempfile.TemporaryDirectory(prefix="lmtpref-") as name:
        broker = RabbitMQ(Path(name))
        (broker.folder / "plugins").write_text("[].\n")
        for made in broker.folder, broker.folder / "plugins":
            if broker.user:
                os.chown(made, broker.user.pw_uid, broker.user.pw_gid)
        try:
            broker.start()
            yield broker
        finally:
            broker.stop()


def _check_rabbitmq() -> None:
    if not Path(RABBITMQ).exists():
        raise MissingToolError("RabbitMQ is not installed; Debian's package is rabbitmq-server")


def _check_haproxy() -> None:
    if not shutil.which("haproxy", path=SEARCH):
        raise MissingToolError("HAProxy is not installed; Debian's package is haproxy")


def _check_postfix() -> None:
    if os.geteuid() != 0:
        raise MissingToolError("Postfix starts for root only")
    unpacked("postfix", "postfix-pcre", "postfix-lmdb")


def _check_postgresql() -> None:
    if not private_postgresql.installed():
        private_postgresql.from_debian()


# The engine that each page needs, by a word in its name.
NEEDS: dict[str, tuple[Callable[[], None], ...]] = {
    "postgresql": (_check_postgresql,),
    "rabbitmq": (_check_rabbitmq,),
    "front-ends": (_check_postgresql, _check_rabbitmq, _check_haproxy, _check_postfix),
}


def unavailable(name: str) -> str:
    """Return why this engine is not available; an empty text if it is."""
    try:
        for check in NEEDS[name]:
            check()
    except MissingToolError as error:
        return str(error)
    return ""


def main(*words: str) -> int:
    """Run the command with the pages that can be played here."""
    played = []
    for word in words:
        try:
            for needed in (check for name, checks in NEEDS.items() if name in Path(word).stem for check in checks):
                needed()
        except MissingToolError as error:
            print(f"skipped: {word}: {error}")
        else:
            played.append(word)
    if not any(word.endswith(".rst") for word in played):
        return SKIPPED_EXIT
    return subprocess.run(played, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
