"""What durability costs: `python durable.py [SECONDS [ROUNDS]]` measures, and writes durable.{json,inc}.

The spool is made in the folder that TMPDIR names, which should be on the disk that is meant.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import CACHE, HERE, Load, configuration_in, machine
from contenders import QUEUED, Contender, running
from postfix_tools import Tools, find_tools
from report import csv_table

MODES = {"memory": "in memory", "alone": "spool, an entry a batch", "spool": "spool"}
FIRST = 50  # messages, from which it is reckoned how many can be sent in the time
LOADS = (
    Load("1 KiB, 1 connection", connections=1),
    Load("1 KiB, 10 connections"),
    Load("1 KiB, 50 connections", connections=50),
    Load("64 KiB, 10 connections", octets=64 * 1024),
    Load("50 recipients, 10 connections", recipients=50),
)


def contender(mode: str, configuration: Path, spool: Path) -> Contender:
    """A server with its queues in that mode."""
    script = [sys.executable, str(HERE / "durable_lmtp.py"), mode, str(configuration), str(spool)]
    return Contender(MODES[mode], lambda port: [*script, str(port)], QUEUED)


def run(tools: Tools, load: Load, server: Contender, seconds: float) -> tuple[float, float]:
    """Messages a second, and by how many milliseconds the event loop was late at most."""

    def send(messages: int) -> float:
        start = time.perf_counter()
        command = tools.command("smtp-source", *load.options(messages), f"inet:127.0.0.1:{process.port}")
        subprocess.run(command, env=tools.environment, check=True)
        return messages / (time.perf_counter() - start)

    with running(server) as process:
        messages = min(load.most, max(FIRST, int(send(FIRST) * seconds)))
        rate = send(messages)
    if process.kept(server) != (FIRST + messages) * load.recipients:
        raise RuntimeError(f"{server.name}: {FIRST + messages} messages were acknowledged; it said: {process.said}")
    late = re.search(r"late by (\d+) ms", process.said)
    return rate, float(late[1]) if late else 0


def measure(seconds: float, rounds: int) -> dict[str, Any]:
    """Every mode under every load, taking turns."""
    tools = find_tools(CACHE)
    results: dict[str, Any] = {"seconds": seconds, "rounds": rounds, "loads": {}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results |= machine(tools)
        configuration = configuration_in(folder)
        for load in LOADS:
            turns: dict[str, list[tuple[float, float]]] = {mode: [] for mode in MODES}
            for number in range(rounds):
                for mode, runs in turns.items():
                    runs.append(run(tools, load, contender(mode, configuration, folder / f"{load.name}.{number}.{mode}"), seconds))
            results["loads"][load.name] = {
                mode: {"rate": round(statistics.median(rate for rate, _ in runs), 1), "late": max(late for _, late in runs)}
                for mode, runs in turns.items()
            }
            print(load.name, results["loads"][load.name], file=sys.stderr)
    return results


def table(results: dict[str, Any]) -> str:
    """The results as reStructuredText."""
    rates = [[load, *(f"{modes[mode]['rate']:,.0f}" for mode in MODES)] for load, modes in results["loads"].items()]
    late = [[load, *(f"{modes[mode]['late']:.0f}" for mode in MODES)] for load, modes in results["loads"].items()]
    lines = [
        ".. Written by durable.py; not to be edited.",
        "",
        f"Measured on {results['date']}: {results['processor']}, {results['cores']} cores, {results['system']}.",
        f"{results['rounds']} rounds of about {results['seconds']:g} s; load average before the first: {results['load_average']}.",
        "",
        *csv_table("Messages a second, median", ["load", *MODES.values()], rates),
        *csv_table("Milliseconds that the event loop was late at most", ["load", *MODES.values()], late),
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, and write the results beside this file."""
    seconds, rounds = [*sys.argv[1:], *["1", "3"][len(sys.argv) - 1 :]]
    results = measure(float(seconds), int(rounds))
    (HERE / "durable.json").write_text(json.dumps(results, indent=1) + "\n")
    (HERE / "durable.inc").write_text(table(results))
    print(table(results))


if __name__ == "__main__":
    main()
