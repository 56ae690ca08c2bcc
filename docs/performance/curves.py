"""Cost of a message against its size and the number of connections: `python curves.py [SECONDS [ROUNDS]]`.

The servers of bench.py, and runs as it does them.  Writes curves.{json,inc} and curves-{size,concurrency}.svg.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from bench import CACHE, CONNECTIONS, Bench, Load, configuration_in, machine
from plots import Curves, Point, figure, number, octets
from postfix_tools import find_tools
from publish import publish
from report import csv_table, measured

KIB = 1024


class Sweep(NamedTuple):
    """One thing that grows, while all else stays."""

    name: str
    grows: str  # what the table and the axis say
    values: tuple[int, ...]

    def load(self, value: int) -> Load:
        """Return the load for `value`."""
        size, connections = (value, CONNECTIONS) if self.name == "size" else (KIB, value)
        return Load(f"{octets(size)}, {connections} connections", octets=size, connections=connections)

    def tick(self, value: float) -> str:
        """`value` as table and axis say it."""
        return octets(value) if self.name == "size" else number(value)


SWEEPS = (
    Sweep("size", "octets a message", tuple(256 * 4**power for power in range(8))),
    Sweep("concurrency", "connections", (1, 2, 5, 10, 20, 50, 100, 200)),
)


def measure(seconds: float, rounds: int) -> dict[str, Any]:
    """Every server under every load; one that stands in both sweeps is measured once."""
    tools = find_tools(CACHE)
    results: dict[str, Any] = machine(tools) | {"rounds": rounds, "seconds": seconds, "sweeps": {}}
    found: dict[Load, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(tools, configuration_in(Path(folder)), seconds)
        for sweep in SWEEPS:
            servers: dict[str, list[Any]] = {}
            results["sweeps"][sweep.name] = servers
            for load in map(sweep.load, sweep.values):
                if load not in found:
                    print(load.name, file=sys.stderr)
                    found[load] = bench.load(load, rounds)["servers"]
                for name, summary in found[load].items():
                    servers.setdefault(name, []).append(summary)
    return results


def tables(results: dict[str, Any]) -> str:
    """The results as reStructuredText."""
    lines = [line for sweep in SWEEPS for line in _tables(sweep, results)]
    return "\n".join([".. Written by curves.py; not to be edited.", "", *measured(results), *lines])


def _tables(sweep: Sweep, results: dict[str, Any]) -> Iterator[str]:
    servers = results["sweeps"][sweep.name]
    head = [sweep.grows, *servers]
    for title, key in (("Messages a second", "rate"), ("Microseconds of the server's processor time a message", "server_microseconds")):
        rows = [[sweep.tick(value), *(f"{runs[turn][key]:,.0f}" for runs in servers.values())] for turn, value in enumerate(sweep.values)]
        yield from csv_table(f"{title}, against {sweep.grows}", head, rows)


def plot(sweep: Sweep, results: dict[str, Any]) -> str:
    """One sweep as SVG: throughput, and the server's cost."""
    servers = results["sweeps"][sweep.name].items()
    rates = {name: [Point.of(x, run["rate"], run["rates"]) for x, run in zip(sweep.values, runs, strict=True)] for name, runs in servers}
    costs = {name: [Point.of(x, run["server_microseconds"]) for x, run in zip(sweep.values, runs, strict=True)] for name, runs in servers}
    panels = [
        Curves("Messages a second", sweep.grows, rates, sweep.tick),
        Curves("Microseconds of processor time a message", sweep.grows, costs, sweep.tick),
    ]
    return figure(f"Throughput and cost against {sweep.grows}", panels)


def main() -> int:
    """Measure, and write the results beside this file; return 2 if a tool is missing."""
    seconds, rounds = [*sys.argv[1:], *["0.25", "3"][len(sys.argv) - 1 :]]
    return publish(
        "curves", partial(measure, float(seconds), int(rounds)), tables, {f"curves-{sweep.name}": partial(plot, sweep) for sweep in SWEEPS}
    )


if __name__ == "__main__":
    sys.exit(main())
