"""The tables and the plot of the performance page, from the results of bench.py."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from plots import Bars, Point, figure

OURS, OURS_ASYNCIO = "lmtpref, uvloop", "lmtpref, asyncio"
AIOSMTPD, AIOSMTPD_UVLOOP = "aiosmtpd, asyncio", "aiosmtpd, uvloop"
NODE, BARE, SINK = "smtp-server", "bare, uvloop", "smtp-sink"


class Target(NamedTuple):
    """A ratio of processor time a message, theirs to ours, under one load; `wanted` None asks only that it be reported."""

    load: str
    ours: str
    theirs: str
    wanted: float | None = None


TARGETS = (
    Target("1 KiB", OURS, AIOSMTPD, 4),
    Target("1 KiB", OURS, NODE, 2),
    Target("1 KiB", OURS, SINK),
    Target("1 KiB", OURS_ASYNCIO, AIOSMTPD),
    Target("1 KiB", BARE, AIOSMTPD),
    Target("64 KiB", OURS, AIOSMTPD, 9),
    Target("64 KiB", OURS, NODE),
    Target("64 KiB", OURS, SINK),
    Target("1 MiB", OURS, AIOSMTPD, 16),
    Target("1 MiB", OURS, NODE),
    Target("1 MiB", OURS, SINK),
    Target("new connection per message", OURS, AIOSMTPD, 3.5),
    Target("new connection per message", OURS, NODE, 1.5),
    Target("new connection per message", OURS, SINK),
    Target("50 recipients a message", OURS, AIOSMTPD, 4.5),
    Target("50 recipients a message", OURS, NODE, 1.3),
    Target("50 recipients a message", OURS, SINK),
    Target("1 KiB, many senders and lists", OURS, AIOSMTPD, 2.5),
    Target("1 KiB, many senders and lists", OURS, NODE, 1.3),
    Target("1 KiB, many senders and lists", OURS, SINK),
)
# The most instructions a message, for the session and the handler.
MOST_INSTRUCTIONS = {"1 KiB": 200_000, "50 recipients a message": 4_000_000}


class Outcome(NamedTuple):
    """A target and what was measured: the ratio of throughputs, and that of processor times, theirs to ours."""

    target: Target
    ratio: float
    thrift: float

    @property
    def verdict(self) -> str:
        """Return the table's cell."""
        if self.target.wanted is None:
            return "reported"
        return "met" if self.thrift >= self.target.wanted else "missed"


def outcomes(results: dict[str, Any]) -> list[Outcome]:
    """The ratio of the medians for every target whose load was measured."""
    measured = {load["name"]: load["servers"] for load in results["loads"]}
    return [_outcome(target, measured[target.load]) for target in TARGETS if target.load in measured]


def _outcome(target: Target, servers: dict[str, Any]) -> Outcome:
    ours, theirs = servers[target.ours], servers[target.theirs]
    return Outcome(target, ours["rate"] / theirs["rate"], theirs["server_microseconds"] / ours["server_microseconds"])


def tables(results: dict[str, Any]) -> str:
    """Everything that the page includes, as reStructuredText."""
    names = list(results["idle"]["servers"])
    lines = [
        ".. Written by bench.py; not to be edited.",
        "",
        *measured(results),
        *csv_table("Ratios", ["load", "ours", "theirs", "target", "processor time", "", "throughput"], _ratio_rows(results)),
        *missed(results),
        *csv_table("Messages a second: median, and half the spread of the rounds", ["load", *names], _rate_rows(results)),
        *csv_table("Microseconds of processor time per message: the server, and the load generator", ["load", *names], _cost_rows(results)),
        *csv_table(
            "Instructions per message of the session and the handler", ["load", "instructions", "target"], _instruction_rows(results)
        ),
        *csv_table("Octets of memory per idle connection", ["connections", *names], _idle_rows(results)),
    ]
    return "\n".join(lines)


def missed(results: dict[str, Any]) -> Iterator[str]:
    """The lines that say which targets are missed, and by how much."""
    yield "These targets are missed:"
    yield ""
    for outcome in outcomes(results):
        if outcome.verdict == "missed":
            yield f"* {outcome.target.load}: {outcome.thrift:.2f} of {outcome.target.theirs}, not {outcome.target.wanted:g}"
    for load, most in MOST_INSTRUCTIONS.items():
        if (count := results["instructions"].get(load, 0)) > most:
            yield f"* {load}: {count:,} instructions, not {most:,}"
    yield ""


def measured(results: dict[str, Any]) -> Iterator[str]:
    """The lines that say when, on what and how often."""
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    yield f"Measured on {results['date']}: {results['processor']}, {results['cores']} cores, {results['system']}; {versions}."
    duration = f" of about {results['seconds']:g} s" if "seconds" in results else ""
    yield f"{results['rounds']} rounds{duration}; load average before the first: {results['load_average']}."
    yield ""


def plot(results: dict[str, Any]) -> str:
    """The rates as bars, a panel for each load."""
    return figure("Messages a second under each load", [_panel(load["name"], load["servers"]) for load in results["loads"]])


def _panel(name: str, servers: dict[str, Any]) -> Bars:
    def say(_: str, point: Point) -> str:
        return f"{point.y:,.0f} ({point.y / servers[AIOSMTPD]['rate']:.1f}x)"

    rates = {server: Point.of(0, found["rate"], found["rates"]) for server, found in servers.items()}
    return Bars(f"{name}: messages a second", rates, say)


def csv_table(title: str, head: list[str], rows: Iterable[list[str]]) -> Iterator[str]:
    """The lines of a table."""
    yield from (f".. csv-table:: {title}", "   :header-rows: 1", "")
    for row in [head, *rows]:
        yield "   " + ", ".join('"' + cell.replace('"', '""') + '"' for cell in row)
    yield ""


def _ratio_rows(results: dict[str, Any]) -> Iterator[list[str]]:
    for outcome in outcomes(results):
        load, ours, theirs, wanted = outcome.target
        yield [load, ours, theirs, f">= {wanted:g}" if wanted else "-", f"{outcome.thrift:.2f}", outcome.verdict, f"{outcome.ratio:.2f}"]


def _rate_rows(results: dict[str, Any]) -> Iterator[list[str]]:
    for load in results["loads"]:
        yield [load["name"], *(f"{s['rate']:,.0f} ± {_noise(s['rates']):.0%}" for s in load["servers"].values())]


def _noise(rates: list[float]) -> float:
    """Half the distance between the best and the worst round, as a part of their middle."""
    return (max(rates) - min(rates)) / (max(rates) + min(rates))


def _cost_rows(results: dict[str, Any]) -> Iterator[list[str]]:
    for load in results["loads"]:
        yield [load["name"], *(f"{s['server_microseconds']:,.0f} / {s['client_microseconds']:,.0f}" for s in load["servers"].values())]


def _instruction_rows(results: dict[str, Any]) -> Iterator[list[str]]:
    for load, count in results["instructions"].items():
        most = MOST_INSTRUCTIONS.get(load)
        yield [load, f"{count:,}", f"<= {most:,}" if most else "-"]


def _idle_rows(results: dict[str, Any]) -> Iterator[list[str]]:
    idle = results["idle"]
    yield [str(idle["connections"]), *(f"{octets:,}" for octets in idle["servers"].values())]
