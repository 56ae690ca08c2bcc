"""Cost of a look-up in directories of many sizes: `python lookups.py` measures, and writes lookups.{json,inc,svg}.

Each round asks new questions, and a directory that remembers answers forgets them before each.
"""

from __future__ import annotations

import json
import platform
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, Protocol

from plots import Curves, Point, figure
from publish import publish
from report import csv_table

from lmtpref.config import load
from lmtpref.lists import Lookup, MailingList, MemoryDirectory
from lmtpref.lists.directory.sql import SqlLists
from lmtpref.lists.directory.sql_import import import_lists
from lmtpref.protocol.syntax import Path as Address

SIZES = {"lists": (10, 1_000, 100_000), "members": (10, 1_000, 1_000_000), "persons": (10, 1_000, 100_000)}
MEMBERS_A_LIST = 10  # where it is the lists that are many
SECONDS = 1.0  # of rounds, for each size of each directory
QUESTIONS = 20  # in a round: half about members, half about strangers, of lists by chance


class Directory(Protocol):
    """A directory that answers at once."""

    def look_up(self, recipient: Address, sender: Address | None) -> Lookup:
        """Answer a question."""


class Line(NamedTuple):
    """A line of the plot: the growing quantity, the directory, and microseconds a look-up for each size."""

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
    settings: dict[str, Any] = {}
    if grows == "persons":
        settings = {"normalise": ["batv"], "subaddresses": True, "banned": [f"@spam{n}.test" for n in range(size)]}
    for number in range(lists):
        yield MailingList(f"list{number}@lists.example", members=[f"member{m}@home{number}.test" for m in range(members)], **settings)


def persons(grows: str, size: int) -> list[tuple[str, str]]:
    """Return the persons of the one list: each member, with a second address."""
    return [(f"member{m}@home0.test", f"member{m}@work.test") for m in range(size)] if grows == "persons" else []


def questions(grows: str, size: int, turn: int) -> list[tuple[Address, Address]]:
    """Return recipients and senders for a round, the same in every directory: a member and a stranger in turn, none of them twice."""
    chance = random.Random(f"{size} {turn}")  # noqa: S311 - no secret
    asked: list[tuple[Address, Address]] = []
    for member in chance.sample(range(size * MEMBERS_A_LIST if grows == "lists" else size), QUESTIONS // 2):
        number, who = divmod(member, MEMBERS_A_LIST) if grows == "lists" else (0, member)
        member_address = f"prvs=0123456789=member{who}+news@work.test" if grows == "persons" else f"member{who}@home{number}.test"
        senders = (member_address, f"stranger{chance.getrandbits(60)}@home{number}.test")
        asked += [(Address.parse(f"list{number}@lists.example"), Address.parse(sender)) for sender in senders]
    return asked


def cost(directory: Directory, grows: str, size: int) -> float:
    """Return the microseconds of processor time of a look-up, the median of the rounds; no answer of an earlier round is remembered.

    Raises AssertionError if an answer is wrong.
    """
    rounds: list[float] = []
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        asked = questions(grows, size, len(rounds))
        if isinstance(directory, MemoryDirectory):
            forget(directory)
        begun = time.process_time()
        answers = [directory.look_up(recipient, sender) for recipient, sender in asked]
        rounds.append((time.process_time() - begun) / len(asked))
        assert [found.standing.member for found in answers] == [True, False] * (QUESTIONS // 2)
    return round(median(rounds) * 1e6, 2)


def forget(directory: MemoryDirectory) -> None:
    """Change the lists, as after a reload, so that the directory forgets its answers."""
    directory.add(MailingList("other@lists.example"))
    directory.remove("other@lists.example")


def measure(grows: str, size: int, folder: Path) -> Iterator[tuple[str, float]]:
    """Yield each directory, with the cost of a look-up in it."""
    yield "memory", cost(MemoryDirectory(mailing_lists(grows, size), persons=persons(grows, size)), grows, size)
    yield "TOML", cost(_toml(grows, size, folder), grows, size)
    url = f"sqlite:///{folder}/lists.db"
    import_lists(mailing_lists(grows, size), url, persons=persons(grows, size))
    database = SqlLists(url)
    yield "SQLite", cost(database, grows, size)
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
            if grows == "persons":
                file.write(f'normalise = ["batv"]\nsubaddresses = true\nbanned = {json.dumps(mailing_list.banned)}\n')
        for addresses in persons(grows, size):
            file.write(f"[[person]]\naddresses = {json.dumps(addresses)}\n")
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
        rows += csv_table(f"Microseconds of processor time a look-up, among many {grows}", head, _rows(grows, lines(results)))
    return "\n".join(rows)


def _rows(grows: str, found: list[Line]) -> Iterator[list[str]]:
    for line in found:
        if line.grows == grows:
            yield [line.directory, *(f"{cost:,.1f}" for cost in line.microseconds.values()), f"{line.growth:.2f}"]


def plot(results: dict[str, Any]) -> str:
    """The results as SVG: a cost that does not grow is a level line."""
    return figure("Microseconds of processor time a look-up", [_panel(grows, lines(results)) for grows in SIZES])


def _panel(grows: str, found: list[Line]) -> Curves:
    x = {"lists": "lists", "members": "members of one list", "persons": "persons and banned domains"}[grows]
    curves = {line.directory: [Point.of(*measured) for measured in line.microseconds.items()] for line in found if line.grows == grows}
    return Curves("Microseconds of processor time a look-up", x, curves)


if __name__ == "__main__":
    sys.exit(publish("lookups", measure_all, table, {"lookups": plot}))
