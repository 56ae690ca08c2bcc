"""Postfix's smtp-source and smtp-sink: those installed here, or unpacked from Debian's package without installing it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_SEARCH = ":".join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])  # users' PATH seldom has sbin


class MissingToolError(Exception):
    """Something that the benchmark cannot do without; the text names it in one line."""


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
        return _run(*self.command("postconf", "-dh", "mail_version"), environment=self.environment).strip()


def find_tools(cache: Path, search: str = _SEARCH) -> Tools:
    """The tools of this machine, or else of Debian's packages, unpacked once into `cache`; `search` is a PATH.

    Raises MissingToolError where neither can be had.
    """
    if installed := shutil.which("smtp-source", path=search):
        return Tools(Path(installed).parent, dict(os.environ))
    tree = cache / "postfix"
    if not tree.exists():
        _require_debian(search)
        _unpack(tree)
    folders = sorted({str(library.parent) for library in tree.rglob("lib*.so*")})
    return Tools(tree / "usr/sbin", {**os.environ, "LD_LIBRARY_PATH": ":".join(folders)})


def _require_debian(search: str) -> None:
    for program in ("apt-get", "dpkg", "dpkg-deb", "dpkg-query"):
        if not shutil.which(program, path=search):
            raise MissingToolError(f"smtp-source: install Postfix, or {program} to unpack it from Debian's package; neither is here")


def _unpack(tree: Path) -> None:
    """Unpack Postfix and the libraries that are missing here; `tree` appears when all is there."""
    archives, unfinished = tree.parent / "debs", tree.with_suffix(".part")
    archives.mkdir(parents=True, exist_ok=True)
    wanted = ["postfix"]
    for package in wanted:  # which grows meanwhile
        archive = _download(package, archives)
        _run("dpkg", "-x", str(archive), str(unfinished))
        wanted += [name for name in _libraries(archive) if name not in wanted and not _is_installed(name)]
    unfinished.rename(tree)


def _download(package: str, folder: Path) -> Path:
    _run("apt-get", "download", "-q", package, folder=folder)
    return max(folder.glob(f"{package}_*.deb"), key=lambda archive: archive.stat().st_mtime)


def _libraries(archive: Path) -> list[str]:
    """The libraries that a package depends on; of alternatives the first."""
    depends = _run("dpkg-deb", "-f", str(archive), "Depends").split(",")
    names = [dependency.split("|")[0].split("(")[0].strip().removesuffix(":any") for dependency in depends]
    return [name for name in names if name.startswith("lib")]


def _is_installed(package: str) -> bool:
    query = subprocess.run(["dpkg-query", "-W", "-f=${db:Status-Status}", package], capture_output=True, text=True, check=False)
    return query.stdout == "installed"


def _run(*command: str, folder: Path | None = None, environment: Mapping[str, str] | None = None) -> str:
    """What the command prints.  Raises MissingToolError, with the last thing it said, if it fails."""
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        complaint = (done.stderr.strip().splitlines() or ["no explanation"])[-1]
        raise MissingToolError(f"{' '.join(command)} failed: {complaint}")
    return done.stdout
