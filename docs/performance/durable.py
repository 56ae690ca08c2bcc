"""What durability costs: `python durable.py [SECONDS [ROUNDS]]` measures, and writes durable.{json,inc,svg}.

The spool is made in the folder that TMPDIR names, which should be on the disk that is meant.
"""

from __future__ import annotations

import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from bench import CACHE, HERE, Load, configuration_in, machine
from contenders import QUEUED, Contender, Running, running
from plots import Bars, Curves, Point, figure
from postfix_tools import Tools, find_tools
from publish import publish
from report import csv_table, measured

MODES = {"memory": "in memory", "alone": "spool, an entry a batch", "spool": "spool"}
OWN = "spool, on a processor"
IDLE = "idle, beside the spool"
FEWEST_MESSAGES = 20  # from which it is reckoned how many can be sent in the time; and one more for each connection
MOST_MILLISECONDS = 50  # that the event loop may stand still
CONNECTIONS = (1, 2, 5, 10, 20, 50)
SMALL = {Load(f"1 KiB, {count} connection{'s'[: count - 1]}", connections=count): count for count in CONNECTIONS}
OTHERS = (Load("64 KiB, 10 connections", octets=64 * 1024), Load("50 recipients, 10 connections", recipients=50))


class Sample(NamedTuple):
    """One run: messages a second, and the longest between two beats, in milliseconds.

    `own` is without what was waited for a processor; `idle` is that of a server beside it, all in all.
    """

    rate: float
    longest: int
    own: int
    idle: int


def contender(mode: str, configuration: Path, spool: Path) -> Contender:
    """A server with its queues in that mode."""
    script = [sys.executable, str(HERE / "durable_lmtp.py"), mode, str(configuration), str(spool)]
    return Contender(MODES[mode], lambda port: [*script, str(port)], QUEUED)


def run(tools: Tools, load: Load, server: Contender, idle: Contender, seconds: float) -> Sample:
    """Send to a server, beside which another has nothing to do."""

    def send(messages: int) -> float:
        start = time.perf_counter()
        command = tools.command("smtp-source", *load.options(messages), f"inet:127.0.0.1:{process.port}")
        subprocess.run(command, env=tools.environment, check=True)
        return messages / (time.perf_counter() - start)

    first = FEWEST_MESSAGES + load.connections
    with running(server) as process, running(idle) as beside:
        for begins in (process, beside):
            begins.process.send_signal(signal.SIGUSR1)
        messages = min(load.most, max(first, int(send(first) * seconds)))
        rate = send(messages)
    if process.kept(server) != (first + messages) * load.recipients:
        raise RuntimeError(f"{server.name}: {first + messages} messages were acknowledged; it said: {process.said}")
    return Sample(rate, *_beats(process), _beats(beside)[0])


def _beats(ended: Running) -> tuple[int, int]:
    said = re.search(r"longest (\d+) ms; own (\d+) ms", ended.said)
    assert said, ended.said
    return int(said[1]), int(said[2])


def measure(seconds: float, rounds: int) -> dict[str, Any]:
    """Every mode under every load, taking turns."""
    tools = find_tools(CACHE)
    results: dict[str, Any] = machine(tools) | {"rounds": rounds, "seconds": seconds, "loads": {}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        configuration = configuration_in(folder)
        idle = contender("memory", configuration, folder)
        for load in (*SMALL, *OTHERS):
            turns: dict[str, list[Sample]] = {mode: [] for mode in MODES}
            for number in range(rounds):
                for mode, runs in turns.items():
                    server = contender(mode, configuration, folder / f"{load.name}.{number}.{mode}")
                    runs.append(run(tools, load, server, idle, seconds))
            results["loads"][load.name] = {mode: _summary(runs) for mode, runs in turns.items()}
            print(load.name, results["loads"][load.name], file=sys.stderr)
    return results


def _summary(runs: list[Sample]) -> dict[str, Any]:
    rates = [round(sample.rate, 1) for sample in runs]
    worst = max(runs, key=lambda sample: sample.longest)
    own = max(sample.own for sample in runs)
    return {"rates": rates, "rate": statistics.median(rates), "longest": worst.longest, "own": own, "idle": worst.idle}


def missed(results: dict[str, Any]) -> list[str]:
    """The loads under which the event loop of the spool stood still for too long, and it was not for want of a processor."""
    return [load for load, modes in results["loads"].items() if modes["spool"]["own"] > MOST_MILLISECONDS]


def table(results: dict[str, Any]) -> str:
    """The results as reStructuredText."""
    loads = results["loads"].items()
    rates = [[load, *(f"{modes[mode]['rate']:,.0f}" for mode in MODES)] for load, modes in loads]
    beats = [[load, *map(str, _longest(modes).values()), "missed" if load in missed(results) else "met"] for load, modes in loads]
    head = ["load", *MODES.values(), IDLE, OWN, f"at most {MOST_MILLISECONDS}"]
    lines = [
        ".. Written by durable.py; not to be edited.",
        "",
        *measured(results),
        *csv_table("Messages a second, median", ["load", *MODES.values()], rates),
        *csv_table("Milliseconds between two beats of the event loop, at most", head, beats),
    ]
    return "\n".join(lines)


def _longest(modes: dict[str, Any]) -> dict[str, int]:
    return {name: modes[mode]["longest"] for mode, name in MODES.items()} | {IDLE: modes["spool"]["idle"], OWN: modes["spool"]["own"]}


def plot(results: dict[str, Any]) -> str:
    """The results as SVG: what grows with the connections as curves, the other loads as bars."""
    rates: dict[str, list[Point]] = {}
    beats: dict[str, list[Point]] = {}
    for load, connections in SMALL.items():
        modes = results["loads"][load.name]
        for name, point in _rates(modes, connections).items():
            rates.setdefault(name, []).append(point)
        for name, milliseconds in _longest(modes).items():
            beats.setdefault(name, []).append(Point.of(connections, milliseconds))
    panels: list[Curves | Bars] = [
        Curves("1 KiB: messages a second", "connections", rates),
        Curves("1 KiB: milliseconds between beats, at most", "connections", beats),
        *(Bars(f"{load.name}: messages a second", _rates(results["loads"][load.name])) for load in OTHERS),
    ]
    return figure("Messages a second in memory and in a spool, and how long the event loop was busy at a stretch", panels)


def _rates(modes: dict[str, Any], connections: int = 0) -> dict[str, Point]:
    return {name: Point.of(connections, modes[mode]["rate"], modes[mode]["rates"]) for mode, name in MODES.items()}


def main() -> int:
    """Measure, and write the results beside this file; 2 where a tool is missing."""
    seconds, rounds = [*sys.argv[1:], *["1", "3"][len(sys.argv) - 1 :]]
    return publish("durable", partial(measure, float(seconds), int(rounds)), table, {"durable": plot})


if __name__ == "__main__":
    sys.exit(main())
