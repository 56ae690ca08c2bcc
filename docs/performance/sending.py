"""Cost of a message for clients in Python: `python sending.py [ROUNDS]` measures, and writes sending.{json,inc,svg}.

Each run is a process of its own, which sends over one connection to Postfix's smtp-sink, one message after the other.
`sending.py run CLIENT PORT RECIPIENTS MESSAGES` is one run, and prints its microseconds of processor time a message.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import re
import shutil
import smtplib
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import partial
from importlib.metadata import version
from typing import Any

from bench import CACHE, machine
from contenders import Contender, running, smtp_sink
from plots import Bars, Point, figure
from postfix_tools import MissingToolError, find_tools
from publish import publish
from report import csv_table, measured

from lmtpref import AsyncClient, Client

OURS, SMTPLIB, OURS_ASYNCIO, AIOSMTPLIB = "lmtpref.Client", "smtplib.LMTP", "lmtpref.AsyncClient", "aiosmtplib.SMTP"
MESSAGES = {1: 4_000, 50: 300}  # of a run, by the recipients of each
COUNTED = (50, 150)  # messages of two runs, whose difference is counted so that the start of the interpreter does not count
WARM_UP = 50
MOST = 1.1  # of smtplib's processor time, that Client may take for one recipient
SENDER = "anne@home.test"
HEADER = b"From: <anne@home.test>\r\nTo: <ant@lists.example>\r\nMessage-Id: <17b2.0003.0000@mta.example>\r\n\r\n"
MESSAGE = HEADER + (b"X" * 76 + b"\r\n") * ((1024 - len(HEADER)) // 78)

Send = Callable[[list[str]], object]  # one message to these recipients; a coroutine from a client for asyncio


@contextmanager
def sends_lmtpref(port: int) -> Iterator[Send]:
    """Connect our client."""
    with Client("127.0.0.1", port, "mta.example") as client:
        yield lambda recipients: client.sendmail(SENDER, recipients, MESSAGE)


@contextmanager
def sends_smtplib(port: int) -> Iterator[Send]:
    """Connect the standard library's client.  It reads one final reply, so its caller reads the others here."""

    def send(recipients: list[str]) -> None:
        client.sendmail(SENDER, recipients, MESSAGE)
        for _ in recipients[1:]:
            client.getreply()

    with smtplib.LMTP("127.0.0.1", port, "mta.example") as client:
        yield send


@asynccontextmanager
async def sends_lmtpref_asyncio(port: int) -> AsyncIterator[Send]:
    """Connect our client for asyncio."""
    async with AsyncClient("127.0.0.1", port, "mta.example") as client:
        yield lambda recipients: client.sendmail(SENDER, recipients, MESSAGE)


@asynccontextmanager
async def sends_aiosmtplib(port: int) -> AsyncIterator[Send]:
    """Connect aiosmtplib, which speaks SMTP alone and gets one final reply a message."""
    library = importlib.import_module("aiosmtplib")  # of the group `bench`, which the checks of this script need not have
    client = library.SMTP(hostname="127.0.0.1", port=port, local_hostname="mta.example", use_tls=False, start_tls=False)
    async with client:
        yield lambda recipients: client.sendmail(SENDER, recipients, MESSAGE)


THREADED = {OURS: sends_lmtpref, SMTPLIB: sends_smtplib}
ASYNCIO = {OURS_ASYNCIO: sends_lmtpref_asyncio, AIOSMTPLIB: sends_aiosmtplib}
CLIENTS = (*THREADED, *ASYNCIO)


def run(client: str, port: int, recipients: int, messages: int) -> float:
    """Send the messages; return the microseconds of processor time for one."""
    names = ["ant@lists.example", *(f"{number}ant@lists.example" for number in range(1, recipients))]
    if client in ASYNCIO:
        return asyncio.run(_run_asyncio(client, port, names, messages))
    with THREADED[client](port) as send:
        for number in range(WARM_UP + messages):
            if number == WARM_UP:
                begun = time.process_time()
            send(names)
        return (time.process_time() - begun) / messages * 1e6


async def _run_asyncio(client: str, port: int, names: list[str], messages: int) -> float:
    async with ASYNCIO[client](port) as send:
        for number in range(WARM_UP + messages):
            if number == WARM_UP:
                begun = time.process_time()
            await send(names)  # type: ignore[misc]  # a coroutine, since the client is one for asyncio
        return (time.process_time() - begun) / messages * 1e6


def measure(rounds: int) -> dict[str, Any]:
    """Every client, taking turns, with each number of recipients; and what a message for one recipient takes, counted."""
    tools = find_tools(CACHE)
    with ExitStack() as servers:
        lmtp = servers.enter_context(running(Contender("LMTP", smtp_sink(tools, "-L"), environment=tools.environment))).port
        smtp = servers.enter_context(running(Contender("SMTP", smtp_sink(tools), environment=tools.environment))).port
        ports = {client: smtp if client == AIOSMTPLIB else lmtp for client in CLIENTS}
        results: dict[str, Any] = machine(tools) | {"rounds": rounds, "loads": {}}
        results["versions"]["aiosmtplib"] = version("aiosmtplib")
        for recipients, messages in MESSAGES.items():
            costs: dict[str, list[float]] = {client: [] for client in CLIENTS}
            for _ in range(rounds):
                for client, port in ports.items():
                    costs[client].append(_process_time(client, port, recipients, messages))
            results["loads"][str(recipients)] = {client: _summary(found) for client, found in costs.items()}
        results["instructions"] = {client: _instructions(client, port) for client, port in ports.items()}
        results["system_calls"] = {client: _system_calls(client, port) for client, port in ports.items()}
    return results


def _command(client: str, port: int, recipients: int, messages: int) -> list[str]:
    return [sys.executable, __file__, "run", client, str(port), str(recipients), str(messages)]


def _process_time(client: str, port: int, recipients: int, messages: int) -> float:
    done = subprocess.run(_command(client, port, recipients, messages), capture_output=True, text=True, check=True)
    return round(float(done.stdout), 1)


def _summary(costs: list[float]) -> dict[str, Any]:
    return {"rounds": costs, "microseconds": round(statistics.median(costs), 1)}


def _instructions(client: str, port: int) -> int:
    """Return the instructions a message for one recipient, without those in the kernel, as valgrind's callgrind counts them."""
    return _counted(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"], r"Collected : (\d+)", client, port)


def _system_calls(client: str, port: int) -> int:
    """Return the system calls a message for one recipient, as strace counts them."""
    return _counted(["strace", "-c", "-U", "calls,name", "-o", "/dev/stderr"], r"(?m)^ *(\d+) total$", client, port)


def _counted(tool: list[str], pattern: str, client: str, port: int) -> int:
    """Return what the tool counts for a message; an extra second is not counted, because two runs differ in their messages alone."""
    if not shutil.which(tool[0]):
        raise MissingToolError(f"{tool[0]} is not here; Debian's package of that name has it")
    counts = []
    for messages in COUNTED:
        command = [*tool, *_command(client, port, 1, messages)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONHASHSEED": "0"})
        counts.append(int(re.findall(pattern, done.stderr)[0]))
    fewest, most = COUNTED
    return round((counts[1] - counts[0]) / (most - fewest))


def ratio(results: dict[str, Any], ours: str, theirs: str, recipients: str = "1") -> float:
    """Return our processor time a message as a part of theirs."""
    found = results["loads"][recipients]
    return float(found[ours]["microseconds"] / found[theirs]["microseconds"])


def table(results: dict[str, Any]) -> str:
    """The results as reStructuredText."""
    ratios = []
    for ours, theirs in ((OURS, SMTPLIB), (OURS_ASYNCIO, AIOSMTPLIB)):
        for recipients in results["loads"]:
            found = ratio(results, ours, theirs, recipients)
            has_target = (ours, recipients) == (OURS, "1")
            verdict = ("met" if found <= MOST else "missed") if has_target else "reported"
            ratios.append([recipients, ours, theirs, f"<= {MOST:g}" if has_target else "-", f"{found:.2f}", verdict])
    costs = [
        [client, *(f"{found[client]['microseconds']:,.0f}" for found in results["loads"].values()), *_counts(results, client)]
        for client in CLIENTS
    ]
    head = ["client", *(f"{recipients} recipient{'s' if recipients != '1' else ''}" for recipients in results["loads"])]
    lines = [
        ".. Written by sending.py; not to be edited.",
        "",
        *measured(results),
        *csv_table("Processor time of our clients, in that of others", ["recipients", "ours", "theirs", "target", "ratio", ""], ratios),
        *csv_table(
            "Microseconds of processor time a message; instructions and system calls, for one recipient",
            [*head, "instructions", "system calls"],
            costs,
        ),
    ]
    return "\n".join(lines)


def _counts(results: dict[str, Any], client: str) -> list[str]:
    return [f"{results['instructions'][client]:,}", f"{results['system_calls'][client]:,}"]


def plot(results: dict[str, Any]) -> str:
    """The results as SVG, a panel for each number of recipients."""
    panels = [
        Bars(
            f"{recipients} recipient{'s' if recipients != '1' else ''}: microseconds a message",
            {client: Point.of(0, found[client]["microseconds"], found[client]["rounds"]) for client in CLIENTS},
        )
        for recipients, found in results["loads"].items()
    ]
    return figure("Microseconds of processor time a message, of each client", panels)


def main(arguments: list[str]) -> int:
    """Measure, and write the results beside this file; or be one run."""
    if arguments[:1] == ["run"]:
        client, *numbers = arguments[1:]
        print(run(client, *map(int, numbers)))
        return 0
    return publish("sending", partial(measure, *map(int, arguments or ["7"])), table, {"sending": plot})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
