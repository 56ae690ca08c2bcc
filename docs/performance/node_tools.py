"""Node.js's smtp-server: installed once into a cache by npm."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from postfix_tools import MissingToolError

PACKAGE = "smtp-server"


@dataclass(frozen=True)
class Node:
    """The path of node, the environment in which it finds the package, and both versions."""

    program: str
    environment: Mapping[str, str]
    versions: Mapping[str, str]


def find_node(cache: Path) -> Node:
    """Return node with smtp-server.

    Raises MissingToolError: if node or npm is missing, or npm cannot install the package.
    """
    program, npm = shutil.which("node"), shutil.which("npm")
    if not program or not npm:
        raise MissingToolError("node and npm are needed for nodemailer's smtp-server")
    modules = cache / "node" / "node_modules"
    if not (modules / PACKAGE).exists():
        modules.parent.mkdir(parents=True, exist_ok=True)
        try:
            subprocess.run(
                [npm, "install", "--silent", "--prefix", str(modules.parent), PACKAGE], check=True, capture_output=True, timeout=300
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            raise MissingToolError(f"npm cannot install {PACKAGE}: {error}") from None
    package = json.loads((modules / PACKAGE / "package.json").read_text())
    version = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout.strip().lstrip("v")
    return Node(program, {**os.environ, "NODE_PATH": str(modules)}, {PACKAGE: package["version"], "Node.js": version})
