"""Cost of a message with one worker and with two: `python workers.py [SECONDS [ROUNDS]]` writes workers.{json,inc,svg}.

The queues are on the disk with the folder that TMPDIR names.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from bench import CACHE, Load, configuration_in, machine
from contenders import QUEUED, Contender, Running, running
from plots import Bars, Point, figure
from postfix_tools import Tools, find_tools
from processes import children, own_seconds, used_since
from publish import publish
from report import csv_table, measured

LOAD = Load("1 KiB", connections=20)  # enough for each worker to have some
WORKERS = (1, 2)
ENGINES = {"SQLite": "sqlite:///{folder}/queues.db", "spool": "maildir:{folder}/spool"}
MOST = 1.1  # of one worker's processor time a message, that two may take
LEAST = 1.7  # of one worker's rate, that two should have where there are cores enough
CORES = 4  # two for the workers, the others for the load generator and the disk
FEWEST_MESSAGES = 200


class Sample(NamedTuple):
    """One run: messages a second, and microseconds of processor time a message of all processes of the server."""

    rate: float
    microseconds: float


def contender(engine: str, workers: int, configuration: Path, folder: str) -> Contender:
    """`lmtpref serve` with this number of workers, and empty queues."""
    program = str(Path(sys.executable).with_name("lmtpref"))
    options = ["--uvloop", "yes", "--workers", str(workers), "--queues", ENGINES[engine].format(folder=folder)]
    command = [program, "serve", str(configuration), *options]
    return Contender(engine, lambda port: [*command, "--listen", f"127.0.0.1:{port}"], QUEUED, ready="listening on")


def run(tools: Tools, engine: str, workers: int, configuration: Path, seconds: float) -> Sample:
    """Start a server, send a few messages, and measure as many as can be sent in the time."""
    with tempfile.TemporaryDirectory() as folder:
        server = contender(engine, workers, configuration, folder)
        with running(server) as process:
            first = send(tools, process, FEWEST_MESSAGES)
            messages = max(FEWEST_MESSAGES, int(first.rate * seconds))
            sample = send(tools, process, messages)
    if process.kept(server) != FEWEST_MESSAGES + messages:
        raise RuntimeError(f"{engine}: {FEWEST_MESSAGES + messages} messages were acknowledged; it said: {process.said}")
    return sample


def send(tools: Tools, server: Running, messages: int) -> Sample:
    """Send the messages; return what they took of the server, with the processes that it has started."""
    pids = [server.process.pid, *children(server.process.pid)]
    before = {pid: own_seconds(pid) for pid in pids}
    begun = time.perf_counter()
    subprocess.run(LOAD.command(tools, messages, server.port), env=tools.environment, check=True)
    elapsed = time.perf_counter() - begun
    return Sample(messages / elapsed, used_since(before, pids) / messages * 1e6)


def measure(seconds: float, rounds: int) -> dict[str, Any]:
    """Each engine with each number of workers, taking turns."""
    tools = find_tools(CACHE)
    results: dict[str, Any] = machine(tools) | {"rounds": rounds, "seconds": seconds, "engines": {}}
    with tempfile.TemporaryDirectory() as folder:
        configuration = configuration_in(Path(folder))
        for engine in ENGINES:
            turns: dict[int, list[Sample]] = {workers: [] for workers in WORKERS}
            for _ in range(rounds):
                for workers, runs in turns.items():
                    runs.append(run(tools, engine, workers, configuration, seconds))
            results["engines"][engine] = {str(workers): _summary(runs) for workers, runs in turns.items()}
            print(engine, results["engines"][engine], file=sys.stderr)
    return results


def _summary(runs: list[Sample]) -> dict[str, Any]:
    rates = [round(sample.rate, 1) for sample in runs]
    costs = [round(sample.microseconds, 1) for sample in runs]
    return {"rates": rates, "rate": statistics.median(rates), "costs": costs, "microseconds": statistics.median(costs)}


def cost_ratio(results: dict[str, Any], engine: str) -> float:
    """Return two workers' processor time a message as a part of one worker's."""
    found = results["engines"][engine]
    return float(found["2"]["microseconds"] / found["1"]["microseconds"])


def rate_ratio(results: dict[str, Any], engine: str) -> float:
    """Return two workers' messages a second as a part of one worker's."""
    found = results["engines"][engine]
    return float(found["2"]["rate"] / found["1"]["rate"])


def table(results: dict[str, Any]) -> str:
    """The results as reStructuredText."""
    rows, ratios = [], []
    for engine, found in results["engines"].items():
        for workers, summary in found.items():
            rows.append([engine, workers, f"{summary['microseconds']:,.0f}", f"{summary['rate']:,.0f}"])
        cost, rate = cost_ratio(results, engine), rate_ratio(results, engine)
        faster = _verdict(rate >= LEAST) if results["cores"] >= CORES else f"reported: {results['cores']} cores"
        ratios.append([engine, f"{cost:.2f}", _verdict(cost <= MOST), f"{rate:.2f}", faster])
    lines = [
        ".. Written by workers.py; not to be edited.",
        "",
        *measured(results),
        *csv_table("One worker and two", ["queues", "workers", "microseconds of processor time a message", "messages a second"], rows),
        *csv_table(
            "Two workers to one", ["queues", f"processor time, at most {MOST:g}", "", f"messages a second, at least {LEAST:g}", ""], ratios
        ),
    ]
    return "\n".join(lines)


def _verdict(is_met: bool) -> str:  # noqa: FBT001 - the one thing that it says
    return "met" if is_met else "missed"


def plot(results: dict[str, Any]) -> str:
    """The results as SVG: the cost of a message, and messages a second."""
    bars: dict[str, dict[str, Point]] = {"microseconds": {}, "rate": {}}
    for engine, found in results["engines"].items():
        for workers, summary in found.items():
            name = f"{engine}, {workers} worker{'s' if workers != '1' else ''}"
            bars["microseconds"][name] = Point.of(0, summary["microseconds"], summary["costs"])
            bars["rate"][name] = Point.of(0, summary["rate"], summary["rates"])
    titles = {"microseconds": "Microseconds of processor time a message", "rate": "Messages a second"}
    return figure("One worker and two", [Bars(titles[key], points) for key, points in bars.items()])


def main() -> int:
    """Measure, and write the results beside this file; return 2 if a tool is missing."""
    seconds, rounds = [*sys.argv[1:], *["1", "5"][len(sys.argv) - 1 :]]
    return publish("workers", partial(measure, float(seconds), int(rounds)), table, {"workers": plot})


if __name__ == "__main__":
    sys.exit(main())
