"""Other people's LMTP clients: the command with which each sends one message, and its version."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import exim as exim4
from debian import CACHE, MissingToolError, unpacked
from harness import Page, runs_here
from peer_servers import debian_version, output
from postfix import Postfix

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class PeerClient:
    """A client that can be had: `command` is one for `lmtpref check --client`."""

    name: str
    version: str
    command: str
    close: Callable[[], None] = lambda: None


# Postfix delivers to the host and port that EHLO named, adds nothing to the message, and tries nothing twice
_POSTFIX = {
    "main": """\
myhostname = mta.example
mydestination =
default_transport = lmtp:[127.0.0.1]:1
mynetworks = 127.0.0.1
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
smtpd_recipient_restrictions = check_helo_access pcre:FOLDER/route
local_header_rewrite_clients =
lmtp_header_checks = pcre:FOLDER/header
queue_run_delay = 1h
minimal_backoff_time = 1h
maximal_backoff_time = 2h
""",
    "route": r"/^(127\.0\.0\.1)\.(\d+)$/ FILTER lmtp:[$1]:$2",
    "header": "/^Received:/ IGNORE",
}


def smtplib() -> PeerClient:
    """Return the standard library's client."""
    command = shlex.join([sys.executable, str(_HERE / "with_smtplib.py"), "{host}", "{port}", "{sender}", "{recipient}"])
    return PeerClient("smtplib", f"Python {platform.python_version()}", command)


def aiosmtplib() -> PeerClient:
    """Return aiosmtplib, which has no LMTP, installed from PyPI."""
    environment = CACHE / "aiosmtplib"
    python = environment / "bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        if subprocess.run([python, "-m", "pip", "install", "-q", "aiosmtplib"], check=False, capture_output=True).returncode:
            raise MissingToolError("pip could not install aiosmtplib")
    version = output(python, "-c", "import aiosmtplib; print(aiosmtplib.__version__)")
    command = [str(python), str(_HERE / "with_aiosmtplib.py"), "{host}", "{port}", "{sender}", "{recipient}"]
    return PeerClient("aiosmtplib", version, shlex.join(command))


def nodemailer() -> PeerClient:
    """Return nodemailer, installed from npm."""
    if not shutil.which("npm"):
        raise MissingToolError("npm is not here")
    folder = CACHE / "nodemailer"
    if subprocess.run(["npm", "install", "--silent", "--prefix", folder, "nodemailer"], check=False, capture_output=True).returncode:
        raise MissingToolError("npm could not install nodemailer")
    os.environ["NODE_PATH"] = f"{folder}/node_modules"
    script = (_HERE / "with_nodemailer.js").read_text()
    version = output("node", "-p", f"require('{folder}/node_modules/nodemailer/package.json').version")
    words = ["node", "-e", script.partition("\n")[2], "{host}", "{port}", "{sender}", "{message}", "{recipient}"]
    return PeerClient("nodemailer", version, shlex.join(words))


def swaks() -> PeerClient:
    """Return swaks, unpacked from Debian's package."""
    program = unpacked("swaks").root / "usr/bin/swaks"
    options = ["--protocol", "LMTP", "--server", "{host}:{port}", "--helo", "mta.example", "--from", "{sender}", "--to", "{recipients}"]
    return PeerClient("swaks", debian_version("swaks"), shlex.join(["perl", str(program), *options, "--data", "-"]))


def exim() -> PeerClient:
    """Return Exim, unpacked from Debian's package; it runs for one message each time."""
    _need_debian_as_root()
    unpacked(*exim4.PACKAGES)
    command = [sys.executable, str(_HERE / "with_exim.py"), "{host}", "{port}", "{sender}", "{recipient}"]
    return PeerClient("Exim", debian_version("exim4-daemon-heavy"), shlex.join(command))


def postfix() -> PeerClient:
    """Start Postfix, unpacked from Debian's packages; it runs until the client is closed."""
    _need_debian_as_root()
    page = Page()
    page.shown.update(_POSTFIX)
    for table in ("route", "header"):
        page.write(table, table)
    port = Postfix(page).start("main").port
    command = [sys.executable, str(_HERE / "with_postfix.py"), str(port), "{host}", "{port}", "{sender}", "{recipient}"]
    return PeerClient("Postfix", debian_version("postfix"), shlex.join(command), page.close)


def _need_debian_as_root() -> None:
    if reason := runs_here():
        raise MissingToolError(reason)


CLIENTS: tuple[Callable[[], PeerClient], ...] = (smtplib, aiosmtplib, nodemailer, swaks, exim, postfix)
