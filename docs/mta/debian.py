"""Debian's packages, unpacked without installing them: they conflict with each other, and with what is installed here."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lmtpref"
SEARCH = ":".join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])  # users' PATH seldom has sbin
_PROGRAMS = ("apt-get", "dpkg", "dpkg-deb", "dpkg-query")


class MissingToolError(Exception):
    """Something that a page or the benchmark cannot do without; the text names it in one line."""


@dataclass(frozen=True)
class Tree:
    """Packages unpacked into a folder."""

    root: Path

    @property
    def libraries(self) -> str:
        """The folders of shared libraries in it, as LD_LIBRARY_PATH has them."""
        return ":".join(sorted({str(library.parent) for library in self.root.rglob("lib*.so*")}))

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment that its programs need.  Set-user-ID and set-group-ID programs ignore it."""
        return {**os.environ, "LD_LIBRARY_PATH": self.libraries}


def unpacked(*packages: str, cache: Path = CACHE, search: str = SEARCH) -> Tree:
    """These packages and the libraries that they need and this machine lacks, unpacked into `cache` the first time.

    Raises MissingToolError where they cannot be had; `search` is a PATH.
    """
    tree = cache / "+".join(packages)
    if not tree.exists():
        for program in _PROGRAMS:
            if not shutil.which(program, path=search):
                raise MissingToolError(f"{packages[0]}: {program}, to unpack it from Debian's package, is not here")
        _unpack(tree, packages)
    return Tree(tree)


def run(*command: str | Path, folder: Path | None = None, environment: Mapping[str, str] | None = None) -> str:
    """Return the output of the command.  Raises MissingToolError, with its last line, if it fails."""
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        complaint = (done.stderr.strip().splitlines() or ["no explanation"])[-1]
        raise MissingToolError(f"{' '.join(map(str, command))} failed: {complaint}")
    return done.stdout


def _unpack(tree: Path, packages: tuple[str, ...]) -> None:
    """Unpack; `tree` appears when all is there."""
    archives, unfinished = tree.parent / "debs", tree.with_name(f"{tree.name}.part")
    archives.mkdir(parents=True, exist_ok=True)
    wanted = list(packages)
    for package in wanted:  # which grows meanwhile
        archive = _download(package, archives)
        run("dpkg", "-x", archive, unfinished)
        run("chmod", "-R", "ug-s", unfinished)  # such programs would not heed LD_LIBRARY_PATH
        wanted += [name for name in _libraries(archive) if name not in wanted and not _is_installed(name)]
    unfinished.rename(tree)


def _download(package: str, folder: Path) -> Path:
    try:
        run("apt-get", "download", "-q", package, folder=folder)
    except MissingToolError:  # a fresh container knows of no packages yet
        run("apt-get", "update", "-q")
        run("apt-get", "download", "-q", package, folder=folder)
    return max(folder.glob(f"{package}_*.deb"), key=lambda archive: archive.stat().st_mtime)


def _libraries(archive: Path) -> list[str]:
    """The libraries that a package depends on; of alternatives the first."""
    depends = run("dpkg-deb", "-f", archive, "Depends").split(",")
    names = [dependency.split("|")[0].split("(")[0].strip().removesuffix(":any") for dependency in depends]
    return [name for name in names if name.startswith("lib")]


def _is_installed(package: str) -> bool:
    query = subprocess.run(["dpkg-query", "-W", "-f=${db:Status-Status}", package], capture_output=True, text=True, check=False)
    return query.stdout == "installed"
