"""The tables and the plot of the page about delivery, from the results of delivery.py."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import Any

from plots import Curves, Point, figure
from report import csv_table, measured

NOTED = ".. What Postfix notes:"  # where the page parts what is written


def table(results: dict[str, Any]) -> str:
    """The results as reStructuredText."""
    head = ["way", "rounds", "first usable, s", "last usable, s", "a second", "after Postfix, ms", "Postfix, ms", "processes"]
    rows = [[name, str(len(way["rounds"])), *_row(way["rounds"], results["messages"])] for name, way in results["ways"].items()]
    notes = [[name, f"``{way['refused']['noted']}``", f"``{way['in_trouble']}``"] for name, way in results["ways"].items()]
    lines = [
        ".. Written by delivery.py; not to be edited.",
        "",
        next(measured(results)),
        f"Load average before the first round: {results['load_average']}.",
        "",
        *csv_table(f"{results['messages']:,} messages; processor time is for one", head, rows),
        NOTED,
        "",
        *csv_table("What Postfix notes", ["way", "of a rejected post", "when the list server is down"], notes),
    ]
    return "\n".join(lines)


def _row(rounds: list[dict[str, Any]], messages: int) -> Iterator[str]:
    """Medians; of the last, the least and the most too."""
    last = [run["last"] for run in rounds]
    yield f"{median(run['first'] for run in rounds):.2f}"
    yield f"{median(last):.2f}" + (f" ({min(last):.2f} to {max(last):.2f})" if len(last) > 1 else "")
    yield f"{messages / median(last):,.0f}"
    yield from (f"{median(run[used] for run in rounds) / messages * 1000:.2f}" for used in ("behind_seconds", "postfix_seconds"))
    yield f"{min(run['started'] for run in rounds):,}"  # whatever else the machine does only adds


def plot(results: dict[str, Any]) -> str:
    """How many messages were usable when."""
    lines = {name: list(_curve(way["rounds"], results)) for name, way in results["ways"].items()}
    return figure("Messages usable against time", [Curves("Messages usable", "seconds", lines)], columns=1)


def _curve(rounds: list[dict[str, Any]], results: dict[str, Any]) -> Iterator[Point]:
    """The medians of the rounds, and how far these lie apart, up to the time at which all messages were usable in each."""
    for limit, counts in zip(results["times"], zip(*(run["at_times"] for run in rounds), strict=True), strict=True):
        yield Point.of(limit, median(counts), counts)
        if min(counts) == results["messages"]:
            return
