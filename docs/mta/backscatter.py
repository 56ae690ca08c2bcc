"""Every way in which a list rejects or holds a post, and the result of it at an MTA."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

from harness import Lists
from talk import submit

PAGES = Path(__file__).parent
_DATE = "Date: Fri, 20 Nov 2026 12:00:00 +0000\nMessage-ID: <aardvark>\n"
_QUEUES = ("in", "hold", "discard")


class Way(NamedTuple):
    """A post that is not distributed: its envelope and its message."""

    sender: str
    list: str
    message: str


def _message(author: str, more: str = "", body: str = "Hello.\n") -> str:
    return f"From: {author}\n{_DATE}{more}\n{body}"


ANNE, BART = "anne@home.test", "bart@home.test"
WAYS = {
    "unknown list": Way(ANNE, "nolist", _message(ANNE)),
    "banned everywhere": Way("dana@spam.test", "ant", _message("dana@spam.test")),
    "banned here": Way("eve@home.test", "ant", _message("eve@home.test")),
    "not a member": Way(BART, "ant", _message(BART)),
    "moderated": Way("cris@home.test", "ant", _message("cris@home.test")),
    "retired list": Way(ANNE, "gnu", _message(ANNE)),
    "null sender": Way("", "ant", _message("mailer-daemon@home.test")),
    "author not a member": Way(BART, "fox", _message(BART)),
    "member, looping": Way(ANNE, "ant", _message(ANNE, "List-Id: <ant.lists.example>\n")),
    "member, too big": Way(ANNE, "ant", _message(ANNE, body="Hello, world.\n" * 1000)),
    "stranger, looping": Way(BART, "bee", _message(BART, "List-Id: <bee.lists.example>\n")),
    "stranger, rejected": Way(BART, "cow", _message(BART, "List-Id: <cow.lists.example>\n")),
}


def configuration() -> str:
    """Return the lists that docs/acceptance/backscatter.rst shows."""
    page = (PAGES.parent / "acceptance" / "backscatter.rst").read_text()
    block = page.partition("   :name: backscatter-lists\n\n")[2]
    lines = block.splitlines(keepends=True)
    end = next(number for number, line in enumerate(lines) if line.strip() and not line.startswith("   "))
    return dedent("".join(lines[:end])).rstrip() + "\n"


def fates(port: int, lists: Lists, settle: Callable[[], object], bounces: Callable[[], int]) -> Iterator[str]:
    """Yield the result of each way through the MTA on this port; `settle` waits until its queue is empty."""
    for way in WAYS.values():
        before, bounced = {name: len(lists.queued(name)) for name in _QUEUES}, bounces()
        said = submit(port, way.sender, f"{way.list}@lists.example", message=way.message)
        settle()
        grown = [name for name in _QUEUES if len(lists.queued(name)) > before[name]]
        yield _heard(said) or ("bounce" if bounces() > bounced else grown[0] if grown else "dropped")


def _heard(said: str) -> str:
    """Return at which command the client heard a rejection; empty if it heard none."""
    command = ""
    for line in said.splitlines():
        if line.startswith("C: "):
            command = line.removeprefix("C: ").partition(" ")[0]
        elif re.match(r"S: [45]", line):
            return f"at {'the end' if command == '.' else command}"
    return ""


def table(*columns: list[str]) -> str:
    """Return a row for each way, with its fate in each column."""
    rows = zip(WAYS, *columns, strict=True)
    return "\n".join("  ".join([f"{way:20}", *(f"{fate:10}" for fate in row)]).rstrip() for way, *row in rows)


def tables() -> dict[str, list[list[str]]]:
    """Return the columns of the tables that the pages about MTAs show, which `nox -s mtas` plays."""
    found = {}
    for mta in ("postfix", "exim", "sendmail"):
        shown = (PAGES / f"{mta}.rst").read_text().partition(">>> print(table(alone, asking))\n")[2]
        rows = [re.split(r"  +", line.strip())[1:] for line in shown.splitlines()[: len(WAYS)]]
        found[mta] = [[row[column] for row in rows] for column in range(2)]
    return found
