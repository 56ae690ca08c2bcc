"""Clients of other projects, against the reference and against a server that hangs up; writes clients.json.

swaks and curl are taken from PATH, nodemailer from NODE_PATH, aiosmtplib from this Python; one that is missing keeps its old record.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.metadata
import importlib.util
import json
import platform
import shutil
import smtplib
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from lmtpref import Envelope, Handler, Recipient, Reply, Server

RECORD = Path(__file__).with_suffix(".json")
RECIPIENTS = ["ann@b.test", "full@b.test", "no@b.test"]
MESSAGE = "From: anne@home.test\r\nMessage-ID: <aardvark>\r\n\r\nHello.\r\n"
NODEMAILER = """
const [port, ...to] = process.argv.slice(1);
const transport = require("nodemailer").createTransport({lmtp: true, host: "127.0.0.1", port: Number(port), name: "mta.example"});
transport.sendMail({envelope: {from: "anne@home.test", to}, raw: "Message-ID: <aardvark>\\r\\n\\r\\nHello.\\r\\n"}).then(
  info => console.log(`accepted ${info.accepted}, rejected ${info.rejected}`),
  error => console.log(`${error.code}: ${error.message}`),
).finally(() => transport.close());
"""


class Choosy(Handler):
    """Rejects one recipient at RCPT, another after the final dot."""

    def rcpt(self, _envelope: Envelope, recipient: Recipient) -> Reply | None:
        """Reject the recipient `no`."""
        return Reply(550, "5.1.1", "No such user") if recipient.path.local == "no" else None

    def deliver(self, _envelope: Envelope, recipient: Recipient) -> Reply | None:
        """Defer the recipient `full`."""
        return Reply(452, "4.2.2", "Full") if recipient.path.local == "full" else None


@contextlib.contextmanager
def reference() -> Iterator[int]:
    """The port of the reference."""
    with Server(Choosy()) as server:
        yield server.port


@contextlib.contextmanager
def hanging_up() -> Iterator[int]:
    """Yield the port of a server that accepts everything, answers the dot for one recipient, and closes."""

    def serve() -> None:
        # A client that leaves without a command does not count.
        while not _hangs_up(listening):
            pass

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        thread.join(timeout=5)


def _hangs_up(listening: socket.socket) -> bool:
    """Serve one client; return whether it sent a command."""
    verb = b""
    with listening.accept()[0] as connection, connection.makefile("rb") as lines, contextlib.suppress(ConnectionError):
        connection.sendall(b"220 lists.example\r\n")
        for line in iter(lines.readline, b""):
            verb = line[:4].upper()
            reply = {b"DATA": b"354 Go on", b"EHLO": b"500 What?", b"HELO": b"500 What?"}.get(verb, b"250 Ok")
            connection.sendall(reply + b"\r\n")
            if verb == b"DATA":
                break
        while (line := lines.readline()) not in {b".\r\n", b""}:
            pass
        if line:
            connection.sendall(b"250 Taken\r\n")
    return bool(verb)


def run(*command: str, content: str = "") -> tuple[int, str]:
    """Return the exit code of a command, and its output."""
    done = subprocess.run(command, input=content, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def swaks(port: int) -> str:
    """Return the replies after the final dot as swaks shows them, and its exit code."""
    options = ["--protocol", "LMTP", "--from", "anne@home.test", "--to", ",".join(RECIPIENTS), "--helo", "mta.example"]
    code, printed = run("swaks", "--server", f"127.0.0.1:{port}", *options)
    behind = printed.partition("\n -> .\n")[2].partition("\n -> QUIT")[0]
    return f"exit {code}: {' / '.join(line.strip() for line in behind.splitlines())}"


def curl(port: int) -> str:
    """The last thing that curl says of an upload, by SMTP and by LMTP, and its exit codes."""
    options = ["-sS", "--mail-from", "anne@home.test", "--mail-rcpt", RECIPIENTS[0], "-T", "-"]
    results = (run("curl", *options, f"{scheme}://127.0.0.1:{port}", content=MESSAGE) for scheme in ("smtp", "lmtp"))
    return "; ".join(f"exit {code}: {printed.strip().splitlines()[-1]}" for code, printed in results)


def nodemailer(port: int) -> str:
    """Return the result of sendMail's promise."""
    return run("node", "-e", NODEMAILER, str(port), *RECIPIENTS)[1].strip()


def aiosmtplib(port: int) -> str:
    """Return what its `send` returns or raises."""
    library = importlib.import_module("aiosmtplib")
    place = {"hostname": "127.0.0.1", "port": port, "local_hostname": "mta.example"}
    sending = library.send(MESSAGE, sender="anne@home.test", recipients=RECIPIENTS, **place)
    try:
        return f"returns {asyncio.run(sending)}"
    except library.SMTPException as problem:
        return f"raises {type(problem).__name__} {problem.args}"


def python(port: int) -> str:
    """Return what `sendmail` returns or raises."""
    with contextlib.closing(smtplib.LMTP("127.0.0.1", port, "mta.example")) as lmtp:
        try:
            return f"returns {lmtp.sendmail('anne@home.test', RECIPIENTS, MESSAGE)}"
        except smtplib.SMTPException as problem:
            return f"raises {type(problem).__name__} {problem.args}"


CLIENTS: dict[str, tuple[Callable[[], str], Callable[[int], str]]] = {
    "swaks": (lambda: run("swaks", "--version")[1].split()[2], swaks),
    "curl": (lambda: run("curl", "--version")[1].split()[1], curl),
    "nodemailer": (lambda: run("node", "-p", "require('nodemailer/package.json').version")[1].split()[0], nodemailer),
    "aiosmtplib": (partial(importlib.metadata.version, "aiosmtplib"), aiosmtplib),
    "smtplib": (platform.python_version, python),
}


def is_there(name: str) -> bool:
    """Whether a client can be tried here."""
    if name in {"swaks", "curl"}:
        return shutil.which(name) is not None
    if name == "nodemailer":
        return shutil.which("node") is not None and run("node", "-e", "require('nodemailer')")[0] == 0
    return importlib.util.find_spec(name) is not None


def main() -> None:
    """Try all clients, and write the results."""
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    for name, (version, attempt) in CLIENTS.items():
        if not is_there(name):
            print(f"{name}: not here; its old record stays")
            continue
        record[name] = {"version": version()}
        for situation, server in ("mixed", reference), ("lost", hanging_up):
            with server() as port:
                record[name][situation] = attempt(port)
        print(name, record[name])
    RECORD.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
