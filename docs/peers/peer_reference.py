"""The reference server on its three transports, in every condition, and in two processes, with replies compared strictly and exactly."""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain, groupby

from lmtpref.check import Case, CheckOptions, CommandTarget, ListeningTarget, Result, Target, conditions, each, examine, run
from lmtpref.check.probe import Probe
from lmtpref.cli.serve_given import NONE, reference
from lmtpref.lists import Entry
from lmtpref.lists.queues.spool_engine import SpoolStore

PATIENCE_SECONDS = 10.0  # for a program to start while others do
_SERVE = (sys.executable, "-m", "lmtpref", "serve")
PARTS = 6  # of the cases, played side by side
STANDARD_STREAMS = "standard streams"
TWO_PROCESSES = "two processes"
TRANSPORTS = ("TCP", "Unix socket", STANDARD_STREAMS, TWO_PROCESSES)


def results(cases: Sequence[Case], transport: str) -> list[Result]:
    """Return the result of each case on one transport, those with the same conditions against one server."""
    groups = _groups(cases, transport)
    # A program is started for each case on standard streams, so there the cases with the same conditions are divided too.
    step = PARTS if transport == STANDARD_STREAMS else 1
    parts = [(given, group[start::step]) for given, group in groups for start in range(step)]
    with ThreadPoolExecutor(PARTS) as beside:
        found = beside.map(lambda part: _results(part[0], part[1], transport), [part for part in parts if part[1]])
        return [result for results in found for result in results]


def _groups(cases: Iterable[Case], transport: str) -> list[tuple[Sequence[str], list[Case]]]:
    """Return the cases of each suite with the same conditions, as far as a server is put into them on this transport.

    Faults are counted in one process, so two processes are in no condition with faults, and its cases are skipped.
    """

    def key(case: Case) -> tuple[str, Sequence[str]]:
        named = [conditions()[name] for name in case.given]
        return case.suite, tuple(one.name for one in named if one.tables and not (one.fault and transport == TWO_PROCESSES))

    return [(given, list(group)) for (_, given), group in groupby(sorted(cases, key=key), key=key)]


def _always() -> frozenset[str]:
    """Return the conditions that change nothing, so that the reference is always in them."""
    return frozenset(name for name, condition in conditions().items() if not condition.tables)


def _results(given: Sequence[str], cases: Sequence[Case], transport: str) -> list[Result]:
    ids = {case.id for case in cases}
    with _target(given, transport) as (target, entries):
        # A server whose conditions change it may keep nothing, and a list may hold a message or merge recipients.
        keeps_all = not given and all(case.suite == "protocol" for case in cases)
        store = partial(_newest, entries) if keeps_all else None
        options = CheckOptions(match="exact", strict=True, store=store)
        if isinstance(target, CommandTarget):
            return [played.result for played in each(cases, target, _examined(given, cases), options)]
        return [result for result in run(cases, target, options).results if result.id in ids]


def _examined(given: Sequence[str], cases: Sequence[Case]) -> Probe:
    """Return the properties of the reference in these conditions; asked over TCP, because that starts no program."""
    with reference(given) as server:
        return examine(cases, ListeningTarget(server.addresses[0], given=_always().union(given)), CheckOptions())


@contextlib.contextmanager
def _target(given: Sequence[str], transport: str) -> Iterator[tuple[Target, Callable[[], Iterable[Entry]]]]:
    """Yield a server in these conditions, and what returns the entries that it has stored."""
    met = _always().union(given)
    named = ",".join(given) or NONE
    with tempfile.TemporaryDirectory() as folder:
        spool = f"{folder}/spool"

        def stored() -> Iterable[Entry]:
            return (entry.entry() for entry in SpoolStore(f"maildir:{spool}").stored())

        if transport == STANDARD_STREAMS:
            command = [*_SERVE, "--stdio", "--spool", spool, "--given", named]
            yield CommandTarget(shlex.join(command), given=met, patience_seconds=PATIENCE_SECONDS), stored
            return
        if transport == TWO_PROCESSES:
            with _serving("--workers", "2", "--spool", spool, "--given", named) as address:
                yield ListeningTarget(address, given=met, patience_seconds=PATIENCE_SECONDS), stored
            return
        with reference(given, listen=f"unix:{folder}/lmtp" if transport == "Unix socket" else "127.0.0.1:0") as server:
            yield ListeningTarget(server.addresses[0], given=met), lambda: chain.from_iterable(server.queues.values())


@contextlib.contextmanager
def _serving(*options: str) -> Iterator[str]:
    """Run `lmtpref serve` with these options; yield its address."""
    with subprocess.Popen([*_SERVE, "--listen", "127.0.0.1:0", *options], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield process.stdout.readline().removeprefix("listening on ").strip()
        finally:
            process.terminate()


def _newest(entries: Callable[[], Iterable[Entry]], recipient: str) -> bytes:
    """Return the newest message that was stored for a recipient."""
    octets = b""
    for entry in entries():
        if entry.forward_path.lower() == recipient.lower():
            octets = entry.octets
    return octets
