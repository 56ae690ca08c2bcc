"""A GNU Mailman of our own: a site in a temporary folder, run by a user without privileges, and an SMTP sink as its MTA.

Nothing listens anywhere but on loopback, and everything ends with its `with` block.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from email import message_from_bytes
from email.message import Message
from importlib.util import find_spec
from pathlib import Path
from textwrap import dedent
from typing import Any, TextIO

from aiosmtpd.controller import Controller
from ports import free_port

SECONDS = 300
# The one privilege that root's child keeps: it may read, and only read, an interpreter and a checkout in a folder of root's.
READER = ("--inh-caps=-all,+dac_read_search", "--ambient-caps=+dac_read_search", "--bounding-set=-all,+dac_read_search")

CONFIGURATION = """\
[mailman]
site_owner: postmaster@lists.example
layout: test

[paths.test]
var_dir: {folder}/var
bin_dir: {bin}

[mta]
smtp_host: 127.0.0.1
smtp_port: {smtp_port}
lmtp_host: 127.0.0.1
lmtp_port: {lmtp_port}
incoming: mailman.mta.null.NullMTA

[webservice]
port: {rest_port}

[runner.archive]
start: no
[runner.digest]
start: no
[runner.retry]
start: no
[runner.task]
start: no
[runner.rest]
start: no
[runner.bounces]
sleep_time: 1s

[archiver.prototype]
enable: no
"""


def missing() -> str:
    """Return why no site can be created here; an empty text if one can."""
    if not find_spec("mailman"):
        return "GNU Mailman 3 is not installed; `nox -s mailman` plays this page"
    if os.geteuid() == 0 and not shutil.which("setpriv"):
        return "there is no setpriv to run GNU Mailman without root's privileges"
    return ""


class Sink:
    """An SMTP server on loopback that keeps what Mailman sends."""

    def __init__(self, trouble: Callable[[], str]) -> None:
        self._trouble = trouble
        self.received: list[tuple[str, list[str], Message]] = []
        self._controller = Controller(self, "127.0.0.1", free_port())
        self._controller.start()
        self.port: int = self._controller.port

    async def handle_DATA(self, server: object, session: object, envelope: Any) -> str:  # noqa: ANN401, ARG002, N802 - as aiosmtpd has it
        """Keep a message."""
        self.received.append((envelope.mail_from, envelope.rcpt_tos, message_from_bytes(envelope.content)))
        return "250 kept"

    def wait_for(self, count: int) -> list[tuple[str, list[str], Message]]:
        """Return what was received, once there are `count` messages.  Raises AssertionError if Mailman is in trouble before."""
        wait_until(lambda: len(self.received) >= count or self._trouble(), f"{count} messages from Mailman")
        assert len(self.received) >= count, self._trouble()
        return self.received

    def close(self) -> None:
        """Stop."""
        self._controller.stop()


class Alone:
    """A runner that no master controls."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, output: TextIO) -> None:
        self.process, self.port, self._output = process, port, output

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def processor_seconds(self) -> float:
        """Return how much processor time the process and its descendants have used, by the kernel's clocks (clock_getcpuclockid(3))."""
        return sum(time.clock_gettime((~pid << 3) | 2) for pid in family(self.process.pid))

    def ended(self) -> tuple[int, str]:
        """Return the exit code and the output, once it has ended."""
        code = self.process.wait(SECONDS)
        self._output.seek(0)
        return code, self._output.read()


class Site:
    """A Mailman with its own folder; `extra` is added to its mailman.cfg."""

    def __init__(self, folder: Path, extra: str = "", **values: object) -> None:
        self.folder = folder
        self.lmtp_port = free_port()
        self.sink = Sink(self.trouble)
        self.cfg = folder / "mailman.cfg"
        self._values = {
            "folder": folder,
            "bin": Path(sys.executable).parent,
            "smtp_port": self.sink.port,
            "lmtp_port": self.lmtp_port,
            "rest_port": free_port(),
            **values,
        }
        self.configure(extra)
        self.own(folder)

    @property
    def queue(self) -> Path:
        """The folder of Mailman's queues."""
        return self.folder / "var" / "queue"

    def configure(self, extra: str) -> None:
        """Write mailman.cfg, with `extra` at its end; capitals in it stand for values, such as FOLDER."""
        self.cfg.write_text(CONFIGURATION.format(**self._values) + self._filled(extra))

    def _filled(self, text: str) -> str:
        for name, value in self._values.items():
            text = text.replace(name.upper(), str(value))
        return text

    def own(self, *paths: Path) -> None:
        """Let the site's user own these paths."""
        for path in paths:
            if user := unprivileged():
                os.chown(path, user.pw_uid, user.pw_gid)

    def command(self, *words: str | Path) -> list[str]:
        """Return the command line that runs `words` as the site's user."""
        plain = [str(word) for word in words]
        if not (user := unprivileged()):
            return plain
        return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--no-new-privs", *READER, "--", *plain]

    def run(self, *words: str | Path, check: bool = True, env: Mapping[str, str] | None = None) -> str:
        """Return the output of a command.  Raises CalledProcessError, with the output, if it fails and `check` is true."""
        with tempfile.TemporaryFile("w+") as output:  # a pipe would stay open as long as Mailman's runners
            done = subprocess.run(
                self.command(*words),
                cwd=self.folder,
                env={**os.environ, "HOME": str(self.folder), **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=SECONDS,
                check=False,
            )
            output.seek(0)
            said = output.read()
        if check and done.returncode:
            raise RuntimeError(f"{words}: exit code {done.returncode}\n{said}")
        return said

    def mailman(self, *words: str, check: bool = True) -> str:
        """Return the output of a `mailman` command."""
        return self.run(Path(sys.executable).with_name("mailman"), "-C", self.cfg, *words, check=check)

    def execute(self, code: str, *words: str) -> str:
        """Run Python code in an initialised Mailman, commit, and return what it prints."""
        prelude = "import sys\nfrom mailman.core.initialize import initialize\ninitialize(sys.argv[1])\nfrom mailman.config import config\n"
        return self.run(sys.executable, "-W", "ignore", "-c", f"{prelude}{code}\nconfig.db.commit()\n", self.cfg, *words)

    @contextlib.contextmanager
    def alone(self, extra: str) -> Iterator[Alone]:
        """Mailman's LMTP runner without a master, on a port of its own, with `extra` at the end of its mailman.cfg."""
        port = free_port()
        cfg = self.folder / f"mailman-{port}.cfg"
        cfg.write_text(self.cfg.read_text() + f"\n[mta]\nlmtp_port: {port}\n" + self._filled(extra))
        output = (self.folder / f"runner-{port}.log").open("w+")
        command = self.command(Path(sys.executable).with_name("runner"), "-C", cfg, "--runner=lmtp:0:1")
        process = subprocess.Popen(command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        runner = Alone(process, port, output)
        try:
            wait_until(lambda: answers(port) or process.poll() is not None, f"a greeting on port {port}")
            yield runner
        finally:
            process.terminate()
            process.wait()
            output.close()

    def start(self) -> None:
        """Start the master, and wait until the LMTP runner answers.  Raises AssertionError, with the logs, if the runner gives up."""
        self.mailman("start")
        wait_until(lambda: answers(self.lmtp_port) or self.trouble(), f"a greeting on port {self.lmtp_port}")
        assert not (trouble := self.trouble()), trouble

    def trouble(self) -> str:
        """Return the logs if the LMTP runner gave up, or if a runner failed on a message; else nothing."""
        gave_up = "the LMTP runner cannot start" in self.log("mailman.log")
        return self.logs() if gave_up or self.pickles("shunt") else ""

    def stop(self) -> None:
        """Stop the master and every runner, if they run."""
        if (pid := self.master()) is None:
            return
        self.mailman("stop", check=False)
        wait_until(lambda: not is_alive(pid), "the end of Mailman's master")

    def master(self) -> int | None:
        """Return the process id of the master; None if it does not run."""
        try:
            pid = int((self.folder / "var" / "master.pid").read_text())
        except FileNotFoundError:
            return None
        return pid if is_alive(pid) else None

    def runner(self, name: str = "lmtp") -> int | None:
        """Return the process id of a runner; None if it does not run."""
        for process in _children(self.master() or 0):
            words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
            if any(word.startswith(f"--runner={name}:".encode()) for word in words):
                return process
        return None

    def log(self, name: str) -> str:
        """Return the text of a log; empty if it does not exist."""
        path = self.folder / "var" / "logs" / name
        return path.read_text(errors="replace") if path.exists() else ""

    def logs(self) -> str:
        """Return the ends of all logs."""
        return "\n".join(
            f"{path.name}: {path.read_text(errors='replace')[-1500:]}" for path in (self.folder / "var" / "logs").glob("*.log")
        )

    def pickles(self, queue: str) -> list[Path]:
        """Return the files in a queue, oldest first."""
        return sorted((self.queue / queue).glob("*.pck"))

    def close(self) -> None:
        """Stop everything."""
        self.stop()
        self.sink.close()


def shown(page: str, name: str) -> str:
    """Return the code block that a page shows under `name`."""
    text = Path(__file__).with_name(page).read_text()
    block = text.partition(f"   :name: {name}\n")[2]
    return dedent(re.split(r"\n(?=\S)", block)[0]).strip() + "\n"


@contextlib.contextmanager
def site(extra: str = "", **values: object) -> Iterator[Site]:
    """A site for as long as this lasts."""
    # Mailman sets a umask in a process that initialises it, as another page may have done; the site's user must read what we write.
    umask = os.umask(0o022)
    with tempfile.TemporaryDirectory(prefix="lmtpref-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        made = Site(Path(name), extra, **values)
        try:
            yield made
        finally:
            made.close()
            os.umask(umask)


def unprivileged() -> pwd.struct_passwd | None:
    """Return the user that runs Mailman if we are root; None if we are not."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def answers(port: int) -> bool:
    """Return whether a server of loopback greets."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            return client.recv(4) == b"220 "
    except OSError:
        return False


def wait_until(done: Any, what: str, seconds: float = SECONDS) -> None:  # noqa: ANN401 - anything that can be called
    """Return when `done()` is true.  Raises AssertionError, which names `what`, if that takes too long."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, f"still no {what}"
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    """Return whether a process runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def family(pid: int) -> list[int]:
    """Return the ids of a process and of all its descendants."""
    return [pid, *(descendant for child in _children(pid) for descendant in family(child))]


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []
