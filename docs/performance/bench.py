"""Measures LMTP servers against each other with Postfix's load generator, and writes the tables and the plot of the page beside this file.

Every run starts a server afresh, warms it up, and then lets smtp-source send for about `--seconds`; the servers take
turns, `--rounds` times.  With `--quick` everything is short, and the tables are printed instead of written.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import instructions
from contenders import Contender, Running, contenders, running
from node_tools import Node, find_node
from postfix_tools import Tools, find_tools
from publish import publish
from report import plot, tables
from various_source import various_lists

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lmtpref"
CONNECTIONS = 10
IDLE_CONNECTIONS = 5000

# The most that one run may leave in a server's memory, and in the kernel's table of closed connections.
MOST_OCTETS = 256 * 1024 * 1024
MOST_ENTRIES = 100_000
MOST_CONNECTIONS = 10_000
WARM_UP = 50  # the part of the most messages that is sent before a run of a second, and before others accordingly: one in so many
FEWEST_MESSAGES = 20
FEWEST_PART = 16  # of the most messages, one in so many may have to be sent whatever the time

LIST = """
[[list]]
address = "{name}@lists.example"
members = ["anne@home.test", "cris@home.test"]
moderated = ["cris@home.test"]
"""
VARIOUS_LIST = """
[[list]]
address = "{name}@lists.example"
members = {members}
subaddresses = true
"""


@dataclass(frozen=True)
class Load:
    """The load of a generator: the size of the messages, their recipients, and the connections, reused or not.

    smtp-source sends it, from Anne to ant; or, if it is `various`, various_source.py.
    """

    name: str
    octets: int = 1024
    recipients: int = 1
    reuse: bool = True
    connections: int = CONNECTIONS
    various: bool = False

    @property
    def most(self) -> int:
        """How many messages one run may send at most."""
        connections = MOST_ENTRIES if self.reuse else MOST_CONNECTIONS
        return min(MOST_OCTETS // self.octets, MOST_ENTRIES // self.recipients, connections)

    @property
    def fewest(self) -> int:
        """The fewest messages of one run: enough on each connection that its start does not matter."""
        return max(FEWEST_MESSAGES, min(FEWEST_MESSAGES * self.connections, self.most // FEWEST_PART))

    def options(self, messages: int | str) -> list[str]:
        """The options of smtp-source for this number of messages from Anne to ant."""
        options = ["-L", "-s", str(self.connections), "-m", str(messages), "-l", str(self.octets), "-r", str(self.recipients)]
        options += ["-f", "anne@home.test", "-t", "ant@lists.example", "-M", "mta.example"]
        return [*options, "-d"] if self.reuse else options

    def command(self, tools: Tools, messages: int | str, port: int | str) -> list[str]:
        """The command that sends this number of messages to a port."""
        if self.various:
            return [sys.executable, str(HERE / "various_source.py"), str(port), str(self.connections), str(messages)]
        return tools.command("smtp-source", *self.options(messages), f"inet:127.0.0.1:{port}")


LOADS = (
    Load("1 KiB"),
    Load("64 KiB", octets=64 * 1024),
    Load("1 MiB", octets=1024 * 1024),
    Load("new connection per message", reuse=False),
    Load("50 recipients a message", recipients=50),
    Load("1 KiB, many senders and lists", various=True),
)


@dataclass(frozen=True)
class Sample:
    """One run: messages a second, and processor time per message of the server and of the load generator."""

    rate: float
    server_microseconds: float
    client_microseconds: float


class Bench:
    """The servers, the load generator, and how long it may take."""

    def __init__(self, tools: Tools, configuration: Path, seconds: float, node: Node | None = None) -> None:
        self.tools = tools
        self.contenders = contenders(tools, configuration, node)
        self.seconds = seconds

    def load(self, load: Load, rounds: int) -> dict[str, Any]:
        """All servers under one load, taking turns."""
        samples: dict[str, list[Sample]] = {contender.name: [] for contender in self.contenders}
        for _ in range(rounds):
            for contender in self.contenders:
                samples[contender.name].append(self._run(load, contender))
        return {
            "name": load.name,
            "generator": shown(load.command(self.tools, "N", "PORT")),
            "servers": {name: _summary(runs) for name, runs in samples.items()},
        }

    def _run(self, load: Load, contender: Contender) -> Sample:
        with running(contender) as server:
            warm_up = max(FEWEST_MESSAGES, load.connections, int(load.most * self.seconds / WARM_UP))
            first = self._send(load, warm_up, server)
            messages = min(load.most, max(load.fewest, int(first.rate * self.seconds)))
            sample = self._send(load, messages, server)
        _check_kept(contender, server, (warm_up + messages) * load.recipients)
        return sample

    def _send(self, load: Load, messages: int, server: Running) -> Sample:
        command = load.command(self.tools, messages, server.port)
        cpu, client_cpu, start = server.cpu_seconds, _children_cpu_seconds(), time.perf_counter()
        subprocess.run(command, env=self.tools.environment, check=True)
        elapsed = time.perf_counter() - start
        cpu, client_cpu = server.cpu_seconds - cpu, _children_cpu_seconds() - client_cpu
        return Sample(messages / elapsed, cpu / messages * 1e6, client_cpu / messages * 1e6)

    def commands(self) -> dict[str, str]:
        """How each server was started."""
        commands = {contender.name: contender.command("PORT") for contender in self.contenders}
        return {name: shown(command) for name, command in commands.items()}

    def idle(self, connections: int) -> dict[str, Any]:
        """Each server's memory per connection that has said LHLO and then nothing."""
        return {"connections": connections, "servers": {c.name: _idle_octets(c, connections) for c in self.contenders}}


def shown(command: list[str]) -> str:
    """Return a command without the folders of its programs and files."""
    return " ".join(word.rpartition("/")[2] for word in command)


def _children_cpu_seconds() -> float:
    """Processor time of the children that have ended: of smtp-source, while the server under test runs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _summary(samples: list[Sample]) -> dict[str, Any]:
    return {
        "rates": [round(sample.rate, 1) for sample in samples],
        "rate": round(statistics.median(sample.rate for sample in samples), 1),
        "server_microseconds": round(statistics.median(sample.server_microseconds for sample in samples), 1),
        "client_microseconds": round(statistics.median(sample.client_microseconds for sample in samples), 1),
    }


def _check_kept(contender: Contender, server: Running, expected: int) -> None:
    """A figure counts only if every message is where the server says that it keeps them."""
    kept = server.kept(contender)
    if kept not in (None, expected):
        raise RuntimeError(f"{contender.name}: {expected} messages were acknowledged, {kept} are kept; it said: {server.said}")


def _idle_octets(contender: Contender, connections: int) -> int:
    with running(contender) as server, ExitStack() as stack:
        _say_lhlo(stack, server.port)  # what the first connection loads is not the price of each
        before = server.resident_octets
        for _ in range(connections):
            _say_lhlo(stack, server.port)
        return (server.resident_octets - before) // connections


def _say_lhlo(stack: ExitStack, port: int) -> None:
    connection = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
    replies = stack.enter_context(connection.makefile("rb"))
    replies.readline()
    connection.sendall(b"LHLO mta.example\r\n")
    while (line := replies.readline()).startswith(b"250-"):
        pass
    if not line.startswith(b"250 "):
        raise RuntimeError(f"LHLO was answered {line!r}")


def _most_idle_connections(wanted: int) -> int:
    """As many of the `wanted` connections as this process may hold open: a socket is one descriptor."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # the servers inherit it
    return min(wanted, hard - 100)


def configuration_in(folder: Path) -> Path:
    """Write a configuration: the cast's closed list, copies of it for smtp-source's other recipients, and lists of many senders."""
    names = ["ant", *(f"{number}ant" for number in range(1, max(load.recipients for load in LOADS) + 1))]
    path = folder / "lists.toml"
    various = [VARIOUS_LIST.format(name=name, members=json.dumps(members)) for name, members in various_lists().items()]
    path.write_text("".join([*(LIST.format(name=name) for name in names), *various]))
    return path


def machine(tools: Tools) -> dict[str, Any]:
    """Return the machine and versions of the measurement, with the load average before the first run."""
    models = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "processor": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "load_average": round(os.getloadavg()[0], 2),
        "versions": {
            "Python": platform.python_version(),
            **{name: version(name) for name in ("lmtpref", "uvloop", "aiosmtpd")},
            "Postfix": tools.version,
        },
    }


def measure(arguments: argparse.Namespace, loads: Iterable[Load]) -> dict[str, Any]:
    """Everything the tables are made of."""
    tools, node = find_tools(arguments.cache), find_node(arguments.cache)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(tools, configuration_in(Path(folder)), arguments.seconds, node)
        results = machine(tools) | {"rounds": arguments.rounds, "seconds": arguments.seconds, "commands": bench.commands(), "loads": []}
        for load in loads:
            print(load.name, file=sys.stderr)
            results["loads"].append(bench.load(load, arguments.rounds))
        results["versions"] |= node.versions
        results["instructions"] = instructions.counted()
        results["idle"] = bench.idle(_most_idle_connections(arguments.idle))
    return results


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often each server takes its turn (default 5)")
    parser.add_argument("--seconds", type=float, default=1.0, help="how long smtp-source sends in each run, about (default 1)")
    parser.add_argument("--idle", type=int, default=IDLE_CONNECTIONS, help=f"idle connections (default {IDLE_CONNECTIONS})")
    parser.add_argument("--only", metavar="LOAD", choices=[load.name for load in LOADS], help="this load alone; prints the tables")
    parser.add_argument("--quick", action="store_true", help="one short round; prints the tables")
    parser.add_argument("--cache", type=Path, default=CACHE, help=f"where Postfix's tools are unpacked (default {CACHE})")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds, arguments.seconds, arguments.idle = 1, 0.2, 200
    return arguments


def main() -> int:
    """Measure, and write the results beside this file, unless only a part was measured."""
    arguments = _arguments()
    loads = [load for load in LOADS if arguments.only in (None, load.name)]
    return publish("bench", partial(measure, arguments, loads), tables, {"bench": plot}, only_print=arguments.quick or bool(arguments.only))


if __name__ == "__main__":
    sys.exit(main())
