"""LMTP servers by other authors: each is started with its address, its mailboxes and its version."""

from __future__ import annotations

import contextlib
import imaplib
import importlib.metadata
import os
import pwd
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from debian import CACHE, MissingToolError, unpacked
from ports import free_port

from lmtpref.check import World

_HERE = Path(__file__).parent
_READY_SECONDS = 90.0  # Mailman starts slowly on a busy machine
_STOP_SECONDS = 5.0


@dataclass(frozen=True)
class Peer:
    """A server that runs: `target` is an address or a command."""

    name: str
    version: str
    target: str
    world: World = field(default_factory=World)
    is_command: bool = False


Start = Callable[[ExitStack, Path], Peer]


def start(stack: ExitStack, command: Sequence[str | Path], port: int, environment: Mapping[str, str] | None = None) -> None:
    """Start a program until `stack` ends, and wait until it listens.  Raises MissingToolError if it does not."""
    quiet = subprocess.DEVNULL
    program = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, env=environment)
    stack.callback(stop, program)
    end = time.monotonic() + _READY_SECONDS
    while program.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise MissingToolError(f"{command[0]} did not listen")


def stop(program: subprocess.Popen[bytes]) -> None:
    """End a program."""
    program.terminate()
    try:
        program.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        program.kill()
        program.wait()


def output(*command: str | Path) -> str:
    """Return the output of a program."""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def needs_root() -> None:
    """Raise MissingToolError unless we are root."""
    if os.geteuid():
        raise MissingToolError("needs root")


def needs_users(*names: str) -> None:
    """Raise MissingToolError unless these users exist or can be made."""
    for name in names:
        with contextlib.suppress(KeyError):
            pwd.getpwnam(name)
            continue
        if subprocess.run(["useradd", "-r", "-M", "-d", "/nonexistent", "-s", "/usr/sbin/nologin", name], check=False).returncode:
            raise MissingToolError(f"the user {name} cannot be made")


def in_namespace(tree: Path, scratch: Path, command: Sequence[str | Path]) -> list[str | Path]:
    """Return the command that runs `command` in a mount namespace in which `tree` lies over /usr, and /var and /run are its own."""
    for name in ("var", "work"):
        (scratch / name).mkdir(parents=True, exist_ok=True)
    if (tree / "lib").is_dir():
        subprocess.run(["cp", "-an", f"{tree}/lib/.", f"{tree}/usr/lib/"], check=False)
    script = f"""set -e
mount --make-rprivate /
mount -t overlay overlay -o lowerdir={tree}/usr:/usr /usr
mount -t overlay overlay -o lowerdir=/var,upperdir={scratch}/var,workdir={scratch}/work /var
mount -t tmpfs tmpfs /run
exec "$@" """
    return ["unshare", "--mount", "bash", "-c", script, "namespace", *command]


def debian_version(package: str) -> str:
    """Return the version of a package that can be had."""
    found = re.search(r"Candidate: (\S+)", output("apt-cache", "policy", package))
    return found[1] if found else "unknown"


# The servers --------------------------------------------------------------------------------------------------------


def aiosmtpd(stack: ExitStack, _: Path) -> Peer:
    """Start aiosmtpd's LMTP, with a handler that answers for each recipient."""
    port = free_port()
    start(stack, [sys.executable, _HERE / "aiosmtpd_server.py", str(port), "each"], port)
    return Peer("aiosmtpd LMTP", importlib.metadata.version("aiosmtpd"), f"127.0.0.1:{port}")


def aiosmtpd_as_it_comes(stack: ExitStack, _: Path) -> Peer:
    """Start aiosmtpd's LMTP, with a handler as aiosmtpd's documentation has them: one answer."""
    port = free_port()
    start(stack, [sys.executable, _HERE / "aiosmtpd_server.py", str(port), "once"], port)
    return Peer("aiosmtpd LMTP, one answer", importlib.metadata.version("aiosmtpd"), f"127.0.0.1:{port}")


def smtp_server(stack: ExitStack, _: Path) -> Peer:
    """Start nodemailer's smtp-server."""
    if not shutil.which("npm"):
        raise MissingToolError("npm is not here")
    port, folder = free_port(), CACHE / "smtp-server"
    if subprocess.run(["npm", "install", "--silent", "--prefix", folder, "smtp-server"], check=False, capture_output=True).returncode:
        raise MissingToolError("npm could not install smtp-server")
    script = (_HERE / "smtp_server.js").read_text()
    start(stack, ["node", "-e", script, str(port)], port, {**os.environ, "NODE_PATH": f"{folder}/node_modules"})
    version = output("node", "-p", f"require('{folder}/node_modules/smtp-server/package.json').version")
    return Peer("nodemailer smtp-server", version, f"127.0.0.1:{port}")


def smtp_sink(stack: ExitStack, _: Path) -> Peer:
    """Start Postfix's smtp-sink, which takes every recipient."""
    tree = unpacked("postfix")
    port = free_port()
    start(stack, [tree.root / "usr/sbin/smtp-sink", "-u", "nobody", "-L", f"127.0.0.1:{port}", "100"], port, tree.environment)
    return Peer("Postfix smtp-sink -L", debian_version("postfix"), f"127.0.0.1:{port}")


def mailman(stack: ExitStack, folder: Path) -> Peer:
    """Start GNU Mailman 3's LMTP runner."""
    environment = CACHE / "mailman-3.3.10"
    program = environment / "bin/mailman"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        pip = [str(environment / "bin/pip"), "install", "-q", "mailman==3.3.10"]
        if subprocess.run(pip, check=False, capture_output=True).returncode:
            raise MissingToolError("pip could not install mailman")
    port = free_port()
    others = ["archive", "bounces", "command", "digest", "in", "nntp", "out", "pipeline", "rest", "retry", "shunt", "virgin", "task"]
    (folder / "mailman.cfg").write_text(
        f"[paths.here]\nvar_dir: {folder}/var\n[mailman]\nlayout: here\nsite_owner: owner@lists.example\n[database]\n"
        f"class: mailman.database.sqlite.SQLiteDatabase\nurl: sqlite:///{folder}/mailman.db\n"
        f"[mta]\nincoming: mailman.mta.null.NullMTA\nlmtp_host: 127.0.0.1\nlmtp_port: {port}\n"
        + "".join(f"[runner.{name}]\nstart: no\n" for name in others)
    )
    base: list[str | Path] = [program, "--run-as-root", "-C", folder / "mailman.cfg"]
    for name in ("ant", "bee", "cat"):
        subprocess.run([*base, "create", "-d", f"{name}@lists.example"], check=True, capture_output=True)
    start(stack, [environment / "bin/master", "-C", folder / "mailman.cfg"], port)
    return Peer("GNU Mailman 3 LMTP runner", "3.3.10", f"127.0.0.1:{port}")


def dovecot(stack: ExitStack, folder: Path, users: Sequence[str] = ("ant", "bee", "cat")) -> Peer:
    """Start Dovecot's lmtpd, which stores the mail of `users` in `run/mail`, a Maildir for each, and syncs it."""
    needs_root()
    needs_users("dovecot", "dovenull", "vmail")
    port, run = free_port(), folder / "run"
    for name in ("base", "state", "mail"):
        (run / name).mkdir(parents=True)
    shutil.chown(run / "mail", "vmail")
    folder.chmod(0o755)
    (run / "users").write_text("".join(f"{name}@lists.example:{{PLAIN}}x\n" for name in users))
    (run / "dovecot.conf").write_text((_HERE / "dovecot.conf").read_text().replace("RUN", str(run)).replace("PORT", str(port)))
    command: list[str | Path] = ["/usr/sbin/dovecot", "-F", "-c", run / "dovecot.conf"]
    if not Path("/usr/sbin/dovecot").exists():
        command = in_namespace(unpacked("dovecot-core", "dovecot-lmtpd").root, folder / "namespace", command)
    start(stack, command, port)
    return Peer("Dovecot lmtpd", debian_version("dovecot-lmtpd"), f"127.0.0.1:{port}")


def cyrus(stack: ExitStack, folder: Path) -> Peer:
    """Start Cyrus IMAP's lmtpd; its users have no domain."""
    needs_root()
    needs_users("cyrus")
    tree = unpacked("cyrus-common", "cyrus-imapd").root
    port, imap_port, run = free_port(), free_port(), folder / "run"
    for name in ["db", "socket", "proc", "log", "msg", "ptclient", "quota", "sieve", "user", "sync", "lock", "mboxlist", "backup"]:
        (run / "conf" / name).mkdir(parents=True)
    (run / "spool").mkdir()
    folder.chmod(0o755)
    for name in ("imapd.conf", "cyrus.conf"):
        text = (_HERE / name).read_text().replace("RUN", str(run)).replace("IMAP_PORT", str(imap_port)).replace("PORT", str(port))
        (run / name).write_text(text)
    subprocess.run(["chown", "-R", "cyrus:mail", run], check=True)
    master: list[str | Path] = ["/usr/sbin/cyrmaster", "-D", "-C", run / "imapd.conf", "-M", run / "cyrus.conf", "-p", run / "pid"]
    start(stack, in_namespace(tree, folder / "namespace", master), imap_port)
    with imaplib.IMAP4("127.0.0.1", imap_port) as client:
        client.login("cyrus", "x")
        for name in ("ant", "bee", "cat"):
            client.create(f"user/{name}")
            client.setacl(f"user/{name}", "anyone", "p")
    names = {f"{name}@lists.example": f"{name}@cyrus.test" for name in ("ant", "bee", "cat", "nobody")}
    return Peer("Cyrus lmtpd", debian_version("cyrus-imapd"), f"127.0.0.1:{port}", World(names))


def mail_local(_stack: ExitStack, _folder: Path) -> Peer:
    """Name sendmail's mail.local, started for each client, delivering to three users of this system."""
    needs_root()
    users = ("daemon", "games", "news")
    tree = unpacked("sendmail-bin", "liblockfile1")
    program = next(tree.root.rglob("mail.local"))
    script = f"mount --make-rprivate / && mount -t tmpfs tmpfs /var/mail && exec env LD_LIBRARY_PATH={tree.libraries} {program} -l"
    names = dict(zip(("ant@lists.example", "bee@lists.example", "cat@lists.example"), users, strict=True))
    command = f"unshare --mount sh -c '{script}'"
    return Peer(
        "sendmail mail.local -l",
        debian_version("sendmail-bin"),
        command,
        World(names | {"nobody@lists.example": "no-such-user"}),
        is_command=True,
    )


SERVERS: tuple[Start, ...] = (aiosmtpd, aiosmtpd_as_it_comes, smtp_server, smtp_sink, mailman, dovecot, cyrus, mail_local)


@contextlib.contextmanager
def running(begin: Start) -> Iterator[Peer]:
    """Run a server in a folder of its own.  Raises MissingToolError if it cannot be had."""
    with tempfile.TemporaryDirectory(prefix="lmtp-peer-", ignore_cleanup_errors=True) as folder, ExitStack() as stack:
        yield begin(stack, Path(folder))
