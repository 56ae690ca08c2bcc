"""Play the suite to every server and client that can be had here, and write results.json, from which docs/peers.rst is made."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from debian import MissingToolError
from peer_clients import CLIENTS, PeerClient
from peer_matrix import matrix
from peer_reference import TRANSPORTS, results
from peer_servers import SERVERS, Start, running

import lmtpref
from lmtpref.check import CheckOptions, CommandTarget, ListeningTarget, Result, clients, known, load, run
from lmtpref.check.report_text import SIGNS
from lmtpref.testing.replay import ScriptServer

HERE = Path(__file__).parent
RECORD = HERE / "results.json"
MATRIX = HERE / "matrix.inc"  # on the first page
BESIDE = 6  # played side by side: most of the time one waits for another
SECONDS = 4.0  # for each reply, because the machine is busy
CLIENT_SECONDS = 30.0  # for a client to start, and to send its message
_CASES = load()
_SERVER = [case for case in _CASES if case.suite != "client"]
_CLIENT = [case for case in _CASES if case.suite == "client"]
_SUITES = {case.id: case.suite for case in _CASES}


def main() -> int:
    """Try them all; a server that cannot be had is named, and keeps its old record."""
    record: dict[str, Any] = json.loads(RECORD.read_text()) if RECORD.exists() else {"reference": {}, "peers": {}, "clients": {}}
    wanted = set(sys.argv[1:])
    transports = [transport for transport in TRANSPORTS if not wanted or transport in wanted]
    servers = [start for start in SERVERS if not wanted or start.__name__ in wanted]
    senders = [client for client in CLIENTS if not wanted or client.__name__ in wanted]
    with ThreadPoolExecutor(BESIDE) as beside:
        # Servers and clients mostly wait, so the reference, which computes, is played meanwhile.
        played = beside.map(_reference, transports)
        found = beside.map(lambda start: _try(start.__name__, lambda: _server(start)), servers)
        sent = beside.map(lambda client: _try(client.__name__, lambda: _client(client)), senders)
        tried = [*found, *sent]
        record["reference"] |= zip(transports, played, strict=True)
    unexpected = [
        f"the reference fails {case}, {transport}" for transport in transports for case in record["reference"][transport]["failed"]
    ]
    for kind, name, entry in filter(None, tried):
        record.setdefault(kind, {})[name] = entry
        unexpected += _unexpected(name, entry)
    record["lmtpref"] = lmtpref.__version__
    RECORD.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", "utf-8")
    MATRIX.write_text(matrix(record), "utf-8")
    print(*unexpected, sep="\n")
    return 1 if unexpected else 0


def _reference(transport: str) -> dict[str, Any]:
    begun = time.monotonic()
    found = results(_SERVER, transport)
    print(f"reference, {transport}: {time.monotonic() - begun:.0f} s")
    return {"counts": _counts(found), "failed": [result.id for result in found if result.is_failure]}


def _try(name: str, play: Callable[[], tuple[str, str, dict[str, Any]]]) -> tuple[str, str, dict[str, Any]] | None:
    """Return the result for a server or client; if it is not available, print that and return None."""
    try:
        kind, full_name, entry = play()
    except MissingToolError as error:
        print(f"{name} is missing: {error}")
        return None
    print(f"{full_name} {entry['version']}, {entry['seconds']:.0f} s: {entry['counts']}", flush=True)
    return kind, full_name, entry


def _unexpected(name: str, entry: dict[str, Any]) -> list[str]:
    """Return a line for each difference from the file of known failures."""
    slug = re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")
    file = HERE / "known" / f"{slug}.toml"
    listed = known.load(file) if file.exists() else {}
    return [f"{name}: {case} is not as {slug}.toml has it" for case in set(listed) ^ set(entry["failed"])]


def _server(start: Start) -> tuple[str, str, dict[str, Any]]:
    with running(start) as peer:
        target = (CommandTarget if peer.is_command else ListeningTarget)(peer.target, patience_seconds=SECONDS)
        begun = time.monotonic()
        found = run(_SERVER, target, CheckOptions(world=peer.world)).results
        return "peers", peer.name, _entry(peer.version, found, time.monotonic() - begun)


def _client(find: Callable[[], PeerClient]) -> tuple[str, str, dict[str, Any]]:
    client, begun = find(), time.monotonic()
    try:
        found = list(clients.run(_CLIENT, client.command, ScriptServer, seconds=CLIENT_SECONDS))
    finally:
        client.close()
    return "clients", client.name, _entry(client.version, found, time.monotonic() - begun)


def _entry(version: str, found: Sequence[Result], seconds: float) -> dict[str, Any]:
    verdicts = {result.id: SIGNS[result.verdict] for result in found}
    failed = {result.id: _told(result) for result in found if result.is_failure}
    return {"version": version, "seconds": round(seconds, 1), "counts": _counts(found), "failed": failed, "verdicts": verdicts}


def _told(result: Result) -> str:
    """Return the expected and the received text, in one line."""
    lines = [line.strip() for line in result.got.splitlines()[:12] if line.strip().startswith(("expected", "came"))]
    return "; ".join(lines[:1] + lines[-1:]) or result.reason


def _counts(found: Iterable[Result]) -> dict[str, dict[str, int]]:
    """Return the number of results with each verdict, by suite; the sweeps belong to `protocol`."""
    counts: dict[str, dict[str, int]] = {}
    for result in found:
        suite = counts.setdefault(_SUITES.get(result.id, "protocol"), {})
        suite[str(result.verdict)] = suite.get(str(result.verdict), 0) + 1
    return counts


if __name__ == "__main__":
    sys.exit(main())
