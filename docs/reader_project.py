"""Blocks that a reader would save and run: files with a caption, and console sessions, played in a project of the page's own."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from difflib import unified_diff

from project import Project
from sybil import Document, Example, Region
from sybil.parsers.rest import CodeBlockParser, PythonCodeBlockParser
from sybil.parsers.rest.lexers import DirectiveLexer

_COMMAND = re.compile(r"^\$ (.+)\n?((?:(?!\$ ).*\n?)*)", re.MULTILINE)
_TIME = re.compile(r" in [\d.]+s\b")
_FOLDER = "/home/anne/shop"  # what the pages call the project's folder
# How a page's commands are run by this Python.
_MODULES = {
    "lmtpref": ["-m", "lmtpref"],
    "python": [],
    "mypy": ["-m", "mypy"],
    "pyright": ["-m", "pyright", "--pythonpath", sys.executable],
}
# An option that brings its plugin with it; the other plugins stay out of the pages' projects.
_PLUGINS = {"-n": "xdist", "--randomly-seed": "randomly", "asyncio_": "asyncio"}


class PythonBlocks(PythonCodeBlockParser):
    """Python that a page runs itself: the blocks without a caption."""

    def __call__(self, document: Document) -> Iterator[Region]:
        """Find them."""
        for region in super().__call__(document):
            if "caption" not in ((region.lexemes or {}).get("options") or {}):
                yield region


class ProjectFiles:
    """Blocks with a caption, which is the name of the file that they are written to in the page's project."""

    _find = DirectiveLexer("code-block")

    def __call__(self, document: Document) -> Iterator[Region]:
        """Find such blocks, in any language."""
        for region in self._find(document):
            if name := region.lexemes["options"].get("caption"):
                yield Region(region.start, region.end, (name, region.lexemes["source"]), self.evaluate)

    def evaluate(self, example: Example) -> None:
        """Write the file."""
        name, text = example.parsed
        (_project(example).folder / name).write_text(text)


class ConsoleBlocks(CodeBlockParser):
    """Console sessions: each line that begins with `$` is run in the page's project, and prints the lines that follow it.

    A line of three dots stands for any number of lines.
    """

    language = "console"

    def evaluate(self, example: Example) -> str:
        """Return how the output differs; an empty text if it does not."""
        project = _project(example)
        came = _TIME.sub("", "".join(f"$ {command}\n{_run(project, command)}" for command, _ in _COMMAND.findall(example.parsed)))
        expected = _TIME.sub("", example.parsed)
        if _as_pattern(expected).fullmatch(came.strip() + "\n"):
            return ""
        return "\n".join(unified_diff(expected.splitlines(), came.splitlines(), "page", "console", lineterm=""))


def _as_pattern(expected: str) -> re.Pattern[str]:
    """Return the pattern for a session, in which `...` stands for any lines."""
    lines = expected.strip().splitlines()
    return re.compile("".join(r"(?:.*\n)*" if line == "..." else re.escape(line) + r"\n" for line in lines))


def _project(example: Example) -> Project:
    """Return the project of a page, made when it is first asked for."""
    names = example.namespace
    if "reader_project" not in names:
        names["reader_project"] = Project()
        names["at_end"](names["reader_project"].cleanup)
    project: Project = names["reader_project"]
    return project


def _run(project: Project, command: str) -> str:
    """Return what a command prints."""
    program, *arguments = shlex.split(command)
    if program == "pytest":
        others = tuple(name for option, name in _PLUGINS.items() if any(argument.startswith(option) for argument in arguments))
        return project.pytest(*arguments, others=others).replace(str(project.folder), _FOLDER) + "\n"
    done = subprocess.run(
        [sys.executable, *_MODULES[program], *arguments], cwd=project.folder, text=True, capture_output=True, timeout=300, check=False
    )
    return re.sub(r" +$", "", done.stdout + done.stderr, flags=re.MULTILINE)
