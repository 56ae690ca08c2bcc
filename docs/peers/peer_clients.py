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

from debian import CACHE, MissingToolError, unpacked
from peer_servers import debian_version, output

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class PeerClient:
    """A client that can be had: `command` is one for `lmtpref check --client`."""

    name: str
    version: str
    command: str


def smtplib() -> PeerClient:
    """Return the standard library's client."""
    command = shlex.join([sys.executable, str(_HERE / "with_smtplib.py"), "{host}", "{port}", "{sender}", "{recipient}"])
    return PeerClient("smtplib", f"Python {platform.python_version()}", command)


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


CLIENTS: tuple[Callable[[], PeerClient], ...] = (smtplib, nodemailer, swaks)
