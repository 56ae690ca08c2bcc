"""Cost of durability: `python durable.py [SECONDS [ROUNDS]]` measures, and writes durable.{json,inc,svg}.

Every engine is measured in one run, PostgreSQL and RabbitMQ as processes of our own.  All of them keep their files in the
folder that TMPDIR names, which should be on the disk that is meant.
"""

from __future__ import annotations

import asyncio
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

sys.path += [str(Path(__file__).resolve().parents[1] / name) for name in ("use", "peers", "mta")]

import aio_pika
import peer_servers  # found by the line above
import private_engines
from bench import CACHE, HERE, Load, configuration_in, machine
from contenders import QUEUED, Contender, Running, running
from debian import MissingToolError
from plots import Bars, Curves, Point, figure
from postfix_tools import Tools, find_tools
from publish import publish
from report import csv_table, measured

MODES = {
    "memory": "in memory",
    "alone": "spool, an entry a batch",
    "spool": "spool",
    "sqlite": "SQLite",
    "postgresql": "PostgreSQL",
    "rabbitmq": "RabbitMQ",
    "dovecot": "Dovecot",
}
OURS = tuple(mode for mode in MODES if mode != "dovecot")
LEAST_SHARE = 0.7  # of the rate in memory, that SQLite should have
LEAST_TIMES = 4  # the spool's rate
IDLE = "idle, beside the spool"
FEWEST_MESSAGES = 20  # from which it is reckoned how many can be sent in the time; and one more for each connection
MOST_MILLISECONDS = 50  # that the event loop may stand still
CONNECTIONS = (1, 10, 50)
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


class Engines(NamedTuple):
    """The engines that are processes of their own."""

    postgresql: private_engines.PostgreSQL
    rabbitmq: private_engines.RabbitMQ


def url_of(mode: str, place: str, engines: Engines) -> str:
    """The URL of the queues in that mode; `place` is where those of a file are."""
    if mode in {"postgresql", "rabbitmq"}:
        return str(getattr(engines, mode).url)
    return {"memory": "memory:", "alone": f"alone:{place}", "spool": f"maildir:{place}", "sqlite": f"sqlite:///{place}"}[mode]


def contender(mode: str, url: str, configuration: Path, folder: Path) -> Contender:
    """A server with its queues at `url`."""
    script = [sys.executable, str(HERE / "durable_lmtp.py"), url, str(configuration), f"sqlite:///{folder}/held"]
    return Contender(MODES[mode], lambda port: [*script, str(port)], QUEUED)


def run(tools: Tools, load: Load, server: Contender, idle: Contender, seconds: float) -> Sample:
    """Send to a server while another one is idle."""
    with running(server) as process, running(idle) as beside:
        for begins in (process, beside):
            begins.process.send_signal(signal.SIGUSR1)
        messages, rate = send(tools, load, f"127.0.0.1:{process.port}", seconds)
    if process.kept(server) != messages * load.recipients:
        raise RuntimeError(f"{server.name}: {messages} messages were acknowledged; it said: {process.said}")
    return Sample(rate, *_beats(process), _beats(beside)[0])


def send(tools: Tools, load: Load, address: str, seconds: float) -> tuple[int, float]:
    """Send a few messages, and then as many as that takes time for; return how many in all, and how many of the latter a second."""

    def rate(messages: int) -> float:
        start = time.perf_counter()
        subprocess.run(tools.command("smtp-source", *load.options(messages), f"inet:{address}"), env=tools.environment, check=True)
        return messages / (time.perf_counter() - start)

    first = FEWEST_MESSAGES + load.connections
    messages = min(load.most, max(first, int(rate(first) * seconds)))
    return first + messages, rate(messages)


def run_dovecot(tools: Tools, load: Load, seconds: float) -> Sample:
    """Send to Dovecot, which has a Maildir for each recipient and syncs it (mail_fsync = always); it has no loop of ours."""
    names = ["ant", *(f"{number}ant" for number in range(1, load.recipients + 1))]
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        target = peer_servers.dovecot(stack, folder, names).target
        messages, rate = send(tools, load, target, seconds)
        stored = len(list(folder.glob("run/mail/*/Maildir/new/*")))
    if stored != messages * load.recipients:
        raise RuntimeError(f"Dovecot: {messages} messages were acknowledged, {stored} files are stored")
    return Sample(rate, 0, 0, 0)


def _beats(ended: Running) -> tuple[int, int]:
    said = re.search(r"longest (\d+) ms; own (\d+) ms", ended.said)
    assert said, ended.said
    return int(said[1]), int(said[2])


def measure(seconds: float, rounds: int) -> dict[str, Any]:
    """Every mode under every load, taking turns."""
    tools = find_tools(CACHE)
    modes = tuple(MODES) if has_dovecot() else OURS
    results: dict[str, Any] = machine(tools) | {"rounds": rounds, "seconds": seconds, "loads": {}}
    with ExitStack() as running_engines:
        folder = Path(running_engines.enter_context(tempfile.TemporaryDirectory()))
        rabbitmq = running_engines.enter_context(private_engines.rabbitmq())
        configuration = configuration_in(folder)
        idle = contender("memory", "memory:", configuration, folder)
        for load in (*SMALL, *OTHERS):
            turns: dict[str, list[Sample]] = {mode: [] for mode in modes}
            for number in range(rounds):
                # A fresh cluster and a purged queue: what an earlier run left is not this one's to count.
                with private_engines.postgresql() as postgresql:
                    for mode, runs in turns.items():
                        if mode == "dovecot":
                            runs.append(run_dovecot(tools, load, seconds))
                            continue
                        url = url_of(mode, f"{folder}/{load.name}.{number}.{mode}", Engines(postgresql, rabbitmq))
                        runs.append(run(tools, load, contender(mode, url, configuration, folder), idle, seconds))
                purge(rabbitmq.url)
            results["loads"][load.name] = {mode: _summary(runs) for mode, runs in turns.items()}
            print(load.name, results["loads"][load.name], file=sys.stderr)
        results["syncs"] = {mode: syncs(tools, mode, configuration, folder) for mode in ("spool", "sqlite")}
    return results


def has_dovecot() -> bool:
    """Return whether Dovecot can be had here; the tables leave it out if not."""
    try:
        with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
            peer_servers.dovecot(stack, Path(name))
    except MissingToolError as error:
        print(f"without Dovecot: {error}", file=sys.stderr)
        return False
    return True


def measured_in(results: dict[str, Any]) -> dict[str, str]:
    """Return the modes that were measured, with their names."""
    return {mode: name for mode, name in MODES.items() if all(mode in modes for modes in results["loads"].values())}


def purge(url: str) -> None:
    """Empty the queues of a broker."""

    async def purge_all() -> None:
        async with await aio_pika.connect(url) as connection:
            channel = await connection.channel()
            await (await channel.get_queue("lmtpref.in")).purge()

    asyncio.run(purge_all())


def syncs(tools: Tools, mode: str, configuration: Path, folder: Path) -> dict[str, int]:
    """How often a server syncs for one message with so many recipients, counted by strace; the first message makes the files."""
    found = {}
    url = {"spool": f"maildir:{folder}/syncs", "sqlite": f"sqlite:///{folder}/syncs.db"}[mode]
    for recipients in (1, 50):
        with running(contender(mode, url, configuration, folder)) as server:
            load = Load("one", recipients=recipients, connections=1)
            command = tools.command("smtp-source", *load.options(1), f"inet:127.0.0.1:{server.port}")
            subprocess.run(command, env=tools.environment, check=True)
            trace = folder / f"strace.{mode}.{recipients}"
            pid = str(server.process.pid)
            with subprocess.Popen(
                ["strace", "-f", "-qq", "-e", "trace=fsync,fdatasync", "-o", trace, "-p", pid], stderr=subprocess.PIPE
            ) as tracer:
                time.sleep(1)  # strace says nothing when it has attached to every thread
                subprocess.run(command, env=tools.environment, check=True)
                tracer.send_signal(signal.SIGINT)
        found[str(recipients)] = len(re.findall(r"(?m)^\d+ +(?:fsync|fdatasync)\(", trace.read_text()))
    return found


def _summary(runs: list[Sample]) -> dict[str, Any]:
    rates = [round(sample.rate, 1) for sample in runs]
    worst = max(runs, key=lambda sample: sample.longest)
    own = max(sample.own for sample in runs)
    return {"rates": rates, "rate": statistics.median(rates), "longest": worst.longest, "own": own, "idle": worst.idle}


def missed(results: dict[str, Any]) -> dict[str, list[str]]:
    """Return the loads under which the event loop stood still for too long, and not for want of a processor; each with the modes."""
    found = {load: [MODES[mode] for mode in OURS if modes[mode]["own"] > MOST_MILLISECONDS] for load, modes in results["loads"].items()}
    return {load: modes for load, modes in found.items() if modes}


def share(modes: dict[str, Any], mode: str) -> float:
    """SQLite's rate for one of that mode: the median over the rounds, for what loads the machine loads both runs of a round."""
    return float(statistics.median(one / other for one, other in zip(modes["sqlite"]["rates"], modes[mode]["rates"], strict=True)))


def added_microseconds(modes: dict[str, Any]) -> float:
    """Return how much longer a message takes with SQLite than in memory; the messages of several connections overlap."""
    return float(1e6 / modes["sqlite"]["rate"] - 1e6 / modes["memory"]["rate"])


def table(results: dict[str, Any]) -> str:
    """The results as reStructuredText."""
    loads = results["loads"].items()
    names = measured_in(results)
    rates = [[load, *(f"{modes[mode]['rate']:,.0f}" for mode in names)] for load, modes in loads]
    beats = [[load, *map(str, _longest(modes).values())] for load, modes in loads]
    own = [[load, *(str(modes[mode]["own"]) for mode in OURS), "missed" if load in missed(results) else "met"] for load, modes in loads]
    counted = [[MODES[mode], *map(str, found.values())] for mode, found in results["syncs"].items()]
    lines = [
        ".. Written by durable.py; not to be edited.",
        "",
        *measured(results),
        *csv_table("Messages a second, median", ["load", *names.values()], rates),
        *csv_table("SQLite against memory and spool, median of the rounds", SHARES, [_shares(load, modes) for load, modes in loads]),
        *csv_table("Syncs for one message", ["engine", "1 recipient", "50 recipients"], counted),
        *csv_table("Milliseconds between two beats of the event loop, at most", ["load", *(MODES[mode] for mode in OURS), IDLE], beats),
        *csv_table(
            "The same without the time in which the loop waited for a processor",
            ["load", *(MODES[mode] for mode in OURS), f"at most {MOST_MILLISECONDS}"],
            own,
        ),
    ]
    return "\n".join(lines)


SHARES = [
    "load",
    f"to memory, at least {LEAST_SHARE}",
    "",
    "microseconds a message, more than in memory",
    f"to the spool, at least {LEAST_TIMES}",
    "",
]


def _shares(load: str, modes: dict[str, Any]) -> list[str]:
    to_memory, to_spool = share(modes, "memory"), share(modes, "spool")
    memory = [f"{to_memory:.2f}", "met" if to_memory >= LEAST_SHARE else "missed", f"{added_microseconds(modes):,.0f}"]
    return [load, *memory, f"{to_spool:.1f}", "met" if to_spool >= LEAST_TIMES else "missed"]


def _longest(modes: dict[str, Any]) -> dict[str, int]:
    return {MODES[mode]: modes[mode]["longest"] for mode in OURS} | {IDLE: modes["spool"]["idle"]}


def plot(results: dict[str, Any]) -> str:
    """The results as SVG: curves for loads with several numbers of connections, bars for the others."""
    rates: dict[str, list[Point]] = {}
    beats: dict[str, list[Point]] = {}
    for load, connections in SMALL.items():
        modes = results["loads"][load.name]
        for name, point in _rates(results, modes, connections).items():
            rates.setdefault(name, []).append(point)
        for name, milliseconds in _longest(modes).items():
            beats.setdefault(name, []).append(Point.of(connections, milliseconds))
    panels: list[Curves | Bars] = [
        Curves("1 KiB: messages a second", "connections", rates),
        Curves("1 KiB: milliseconds between beats, at most", "connections", beats),
        *(Bars(f"{load.name}: messages a second", _rates(results, results["loads"][load.name])) for load in OTHERS),
    ]
    return figure("Messages a second in memory and in a spool, and how long the event loop was busy at a stretch", panels)


def _rates(results: dict[str, Any], modes: dict[str, Any], connections: int = 0) -> dict[str, Point]:
    return {name: Point.of(connections, modes[mode]["rate"], modes[mode]["rates"]) for mode, name in measured_in(results).items()}


def main() -> int:
    """Measure, and write the results beside this file; return 2 if a tool is missing."""
    seconds, rounds = [*sys.argv[1:], *["1", "3"][len(sys.argv) - 1 :]]
    return publish("durable", partial(measure, float(seconds), int(rounds)), table, {"durable": plot})


if __name__ == "__main__":
    sys.exit(main())
