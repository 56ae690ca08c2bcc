"""Postfix's smtp-source and smtp-sink: those installed here, or unpacked from Debian's package without installing it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "mta"))

from debian import SEARCH, MissingToolError, run, unpacked

__all__ = ["MissingToolError", "Tools", "find_tools"]


@dataclass(frozen=True)
class Tools:
    """Where Postfix's programs are, and the environment that they need."""

    folder: Path
    environment: Mapping[str, str]

    def command(self, name: str, *arguments: str) -> list[str]:
        """The command line that runs the program `name`."""
        return [str(self.folder / name), *arguments]

    @property
    def version(self) -> str:
        """Postfix's version, such as 3.7.11."""
        return run(*self.command("postconf", "-dh", "mail_version"), environment=self.environment).strip()


def find_tools(cache: Path, search: str = SEARCH) -> Tools:
    """The tools of this machine, or else of Debian's packages, unpacked once into `cache`; `search` is a PATH.

    Raises MissingToolError where neither can be had.
    """
    if installed := shutil.which("smtp-source", path=search):
        return Tools(Path(installed).parent, dict(os.environ))
    tree = unpacked("postfix", cache=cache, search=search)
    return Tools(tree.root / "usr/sbin", tree.environment)
