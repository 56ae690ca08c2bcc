"""Cost of a look-up in directories of many sizes: `python lookups.py` measures, and writes lookups.{json,inc,svg}."""

from __future__ import annotations

import json
import math
import platform
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from plots import Curves, Point, figure
from publish import publish
from report import csv_table

from lmtpref.config import load
from lmtpref.lists import Lookup, MailingList, MemoryDirectory
from lmtpref.lists.directory.sql import SqlLists
from lmtpref.lists.directory.sql_import import import_lists
from lmtpref.protocol.syntax import Path as Address

SIZES = {"lists": (10, 1_000, 100_000), "members": (10, 1_000, 1_000_000)}
MEMBERS_A_LIST = 10  # where it is the lists that are many
SECONDS = 2.0  # of rounds, for each size of each directory
QUESTIONS = 100  # in a round: half about members, half about strangers, of lists by chance

Ask = Callable[[Address, Address], Lookup]


class Line(NamedTuple):
    """A line of the plot: what grows, the directory, and microseconds a look-up for each size."""

    grows: str
    directory: str
    microseconds: dict[int, float]

    @property
    def growth(self) -> float:
        """The cost at the largest size, in that at the smallest."""
        costs = list(self.microseconds.values())
        return costs[-1] / costs[0]


def mailing_lists(grows: str, size: int) -> Iterator[MailingList]:
    """Lists to fill a directory with."""
    lists, members = (size, MEMBERS_A_LIST) if grows == "lists" else (1, size)
    for number in range(lists):
        yield MailingList(f"list{number}@lists.example", members=[f"member{m}@home{number}.test" for m in range(members)])


def questions(grows: str, size: int) -> list[tuple[Address, Address]]:
    """Recipients and senders, the same in every directory."""
    chance = random.Random(size)  # noqa: S311 - no secret
    asked = []
    for turn in range(QUESTIONS):
        number = chance.randrange(size) if grows == "lists" else 0
        who = chance.randrange(MEMBERS_A_LIST if grows == "lists" else size)
        sender = f"member{who}@home{number}.test" if turn % 2 else f"stranger{who}@home{number}.test"
        asked.append((Address.parse(f"list{number}@lists.example"), Address.parse(sender)))
    return asked


def cost(ask: Ask, asked: list[tuple[Address, Address]]) -> float:
    """Microseconds of a look-up: of each question the best of its rounds, because whatever else the machine does only adds.

    Raises AssertionError if an answer is wrong.
    """
    assert [ask(*question).standing.member for question in asked] == [bool(turn % 2) for turn in range(QUESTIONS)]
    best, end = [math.inf] * QUESTIONS, time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        for number, (recipient, sender) in enumerate(asked):
            begun = time.perf_counter()
            ask(recipient, sender)
            best[number] = min(best[number], time.perf_counter() - begun)
    return round(fmean(best) * 1e6, 2)


def measure(grows: str, size: int, folder: Path) -> Iterator[tuple[str, float]]:
    """Each directory, with what a look-up costs in it."""
    asked = questions(grows, size)
    yield "memory", cost(MemoryDirectory(mailing_lists(grows, size)).look_up, asked)
    yield "TOML", cost(_toml(grows, size, folder).look_up, asked)
    url = f"sqlite:///{folder}/lists.db"
    import_lists(mailing_lists(grows, size), url)
    database = SqlLists(url)
    yield "SQLite", cost(database.look_up, asked)
    database.close()


def _toml(grows: str, size: int, folder: Path) -> MemoryDirectory:
    """The directory of a configuration file; where members are many they are in a file of their own."""
    with (folder / "lists.toml").open("w") as file:
        for mailing_list in mailing_lists(grows, size):
            file.write(f'[[list]]\naddress = "{mailing_list.address}"\n')
            if grows == "lists":
                file.write(f"members = {json.dumps(list(mailing_list.members))}\n")
            else:
                file.write('members_file = "members"\n')
                (folder / "members").write_text("\n".join(mailing_list.members))
    directory = load(folder / "lists.toml").directory
    assert isinstance(directory, MemoryDirectory)
    return directory


def measure_all() -> dict[str, Any]:
    """Return the cost of a look-up in each directory, at each size."""
    found: dict[tuple[str, str], dict[int, float]] = {}
    for grows, sizes in SIZES.items():
        for size in sizes:
            with tempfile.TemporaryDirectory() as folder:
                for directory, microseconds in measure(grows, size, Path(folder)):
                    found.setdefault((grows, directory), {})[size] = microseconds
                    print(grows, size, directory, microseconds)
    return {
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "lines": [Line(*key, costs)._asdict() for key, costs in found.items()],
    }


def lines(results: dict[str, Any]) -> list[Line]:
    """The lines of recorded results."""
    return [
        Line(line["grows"], line["directory"], {int(size): microseconds for size, microseconds in line["microseconds"].items()})
        for line in results["lines"]
    ]


def table(results: dict[str, Any]) -> str:
    """The results as reStructuredText."""
    rows = [".. Written by lookups.py; not to be edited.", "", f"Measured on {results['date']} with Python {results['python']}.", ""]
    for grows, sizes in SIZES.items():
        head = ["directory", *(f"{size:,} {grows}" for size in sizes), "last to first"]
        rows += csv_table(f"Microseconds a look-up, among many {grows}", head, _rows(grows, lines(results)))
    return "\n".join(rows)


def _rows(grows: str, found: list[Line]) -> Iterator[list[str]]:
    for line in found:
        if line.grows == grows:
            yield [line.directory, *(f"{cost:,.1f}" for cost in line.microseconds.values()), f"{line.growth:.2f}"]


def plot(results: dict[str, Any]) -> str:
    """The results as SVG: a cost that does not grow is a level line."""
    return figure("Microseconds a look-up", [_panel(grows, lines(results)) for grows in SIZES])


def _panel(grows: str, found: list[Line]) -> Curves:
    x = {"lists": "lists", "members": "members of one list"}[grows]
    curves = {line.directory: [Point.of(*measured) for measured in line.microseconds.items()] for line in found if line.grows == grows}
    return Curves("Microseconds a look-up", x, curves)


if __name__ == "__main__":
    sys.exit(publish("lookups", measure_all, table, {"lookups": plot}))
