"""The servers under test: how each is started, and a running one."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

sys.path.append(str(Path(__file__).resolve().parents[1] / "mta"))

from node_tools import Node
from ports import free_port  # found by the line above
from postfix_tools import Tools
from processes import own_seconds

_HERE = Path(__file__).parent
_PATIENCE_SECONDS = 30
QUEUED = r"(?:queued: |, )\w+ (\d+)"  # in the summary that `lmtpref serve` prints at its end
KEPT = r"kept (\d+)"  # in that of aiosmtpd_lmtp.py


@dataclass(frozen=True)
class Contender:
    """A server under test.

    `kept` finds in what it prints at its end the numbers of messages that it holds.  It is ready when it listens, and has
    printed `ready`.
    """

    name: str
    command: Callable[[int | str], list[str]]  # for a port
    kept: str | None = None
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    ready: str = ""


@dataclass
class Running:
    """A server that listens on a port of 127.0.0.1; everything it holds is gone when it ends."""

    process: subprocess.Popen[str]
    port: int
    said: str = ""  # all that it printed, once it has ended

    @property
    def cpu_seconds(self) -> float:
        """Processor time used so far, in user mode and in the kernel."""
        return own_seconds(self.process.pid)

    @property
    def resident_octets(self) -> int:
        """Memory in use (proc(5), `statm`, field 2)."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def kept(self, contender: Contender) -> int | None:
        """The number of messages that it reported at its end; None if it keeps none."""
        return sum(map(int, re.findall(contender.kept, self.said))) if contender.kept else None


@contextmanager
def running(contender: Contender) -> Iterator[Running]:
    """Start a server on a free port, and end it with SIGTERM."""
    with tempfile.NamedTemporaryFile("w+") as output:
        server = _started(contender, output)
        try:
            _await_word(server, Path(output.name), contender.ready)
            yield server
        finally:
            server.process.send_signal(signal.SIGTERM)
            server.process.wait(_PATIENCE_SECONDS)
            output.seek(0)
            server.said = output.read()


def _started(contender: Contender, output: IO[str]) -> Running:
    """Return a server that listens."""
    port = free_port()
    process = subprocess.Popen(contender.command(port), stdout=output, stderr=output, text=True, env=contender.environment)
    server = Running(process, port)
    if not _listens(server):
        process.kill()
        process.wait()
        raise RuntimeError(f"{contender.name} does not listen; it said: {Path(output.name).read_text()}")
    return server


def _listens(server: Running) -> bool:
    """Wait until the server listens; return False if it ends, or takes too long."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", server.port)).close()
        except ConnectionRefusedError:
            time.sleep(0.02)
        else:
            return True
    return False


def _await_word(server: Running, output: Path, word: str) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while word not in output.read_text():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{server.process.args!r} does not print {word!r}")
        time.sleep(0.02)


def smtp_sink(tools: Tools, *options: str) -> Callable[[int | str], list[str]]:
    """Return the command of Postfix's test server, which keeps nothing, for a port."""
    unprivileged = ("-u", "nobody") if os.geteuid() == 0 else ()
    return lambda port: tools.command("smtp-sink", *options, "-m", "10000", *unprivileged, f"127.0.0.1:{port}", "1000")


def contenders(tools: Tools, configuration: Path, node: Node | None = None) -> list[Contender]:
    """Every server under test, in the order in which they take turns; smtp-server only with `node`."""
    lmtpref = str(Path(sys.executable).with_name("lmtpref"))
    python = str(Path(sys.executable).with_name("python"))

    def ours(uvloop: str) -> Callable[[int | str], list[str]]:
        return lambda port: [lmtpref, "serve", str(configuration), "--listen", f"127.0.0.1:{port}", "--uvloop", uvloop]

    def theirs(loop: str) -> Callable[[int | str], list[str]]:
        return lambda port: [python, str(_HERE / "aiosmtpd_lmtp.py"), loop, str(port)]

    def node_server(node: Node) -> Contender:
        script = str(_HERE / "smtp_server_lmtp.js")
        return Contender("smtp-server", lambda port: [node.program, script, str(port)], KEPT, environment=node.environment)

    return [
        Contender("lmtpref, uvloop", ours("yes"), QUEUED),
        Contender("lmtpref, asyncio", ours("no"), QUEUED),
        Contender("aiosmtpd, asyncio", theirs("asyncio"), KEPT),
        Contender("aiosmtpd, uvloop", theirs("uvloop"), KEPT),
        *([node_server(node)] if node else []),
        Contender("bare, uvloop", lambda port: [python, str(_HERE / "bare_lmtp.py"), str(port)]),
        Contender("smtp-sink", smtp_sink(tools, "-L"), environment=tools.environment),
    ]
