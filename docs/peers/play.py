"""Play the suite to every server that can be had here, and write results.json, from which docs/peers.rst is made."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import Any

from debian import MissingToolError
from peer_reference import TRANSPORTS, results
from peer_servers import SERVERS, Peer, Start, running

import lmtpref
from lmtpref.check import CheckOptions, CommandTarget, ListeningTarget, Result, known, load, run
from lmtpref.check.report_text import SIGNS

HERE = Path(__file__).parent
RECORD = HERE / "results.json"
_PROTOCOL = [case for case in load() if case.suite == "protocol"]


def main() -> int:
    """Try them all; a server that cannot be had is named, and keeps its old record."""
    record: dict[str, Any] = json.loads(RECORD.read_text()) if RECORD.exists() else {"reference": {}, "peers": {}}
    wanted = set(sys.argv[1:])
    for transport in TRANSPORTS:
        if not wanted or transport in wanted:
            record["reference"][transport] = _reference(transport)
    unexpected = [line for start in SERVERS if not wanted or start.__name__ in wanted for line in _try(start, record["peers"])]
    record["lmtpref"] = lmtpref.__version__
    RECORD.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", "utf-8")
    print(*unexpected, sep="\n")
    return 1 if unexpected else 0


def _reference(transport: str) -> dict[str, Any]:
    begun = time.monotonic()
    found = results(_PROTOCOL, transport)
    print(f"reference, {transport}: {time.monotonic() - begun:.0f} s")
    return {"counts": _counts(found), "failed": [result.id for result in found if result.is_failure]}


def _try(start: Start, record: dict[str, Any]) -> list[str]:
    """Record one server; return what is not as its file of known failures has it, a line each."""
    try:
        with running(start) as peer:
            record[peer.name] = _played(peer)
    except MissingToolError as error:
        print(f"{start.__name__} is missing: {error}")
        return []
    print(f"{peer.name} {peer.version}: {record[peer.name]['counts']}")
    slug = re.sub("[^a-z0-9]+", "-", peer.name.lower()).strip("-")
    listed = known.load(HERE / "known" / f"{slug}.toml")
    return [f"{peer.name}: {case} is not as {slug}.toml has it" for case in set(listed) ^ set(record[peer.name]["failed"])]


def _played(peer: Peer) -> dict[str, Any]:
    target = CommandTarget(peer.target) if peer.is_command else ListeningTarget(peer.target)
    begun = time.monotonic()
    found = run(_PROTOCOL, target, CheckOptions(world=peer.world))
    seconds = round(time.monotonic() - begun, 1)
    verdicts = {result.id: SIGNS[result.verdict] for result in found.results}
    failed = {result.id: _told(result) for result in found.results if result.is_failure}
    return {"version": peer.version, "seconds": seconds, "counts": _counts(found.results), "failed": failed, "verdicts": verdicts}


def _told(result: Result) -> str:
    """Return what was expected and what came, in a line."""
    lines = [line.strip() for line in result.got.splitlines()[:12] if line.strip().startswith(("expected", "came"))]
    return "; ".join(lines[:1] + lines[-1:]) or result.reason


def _counts(found: list[Result] | Any) -> dict[str, int]:  # noqa: ANN401 - a run's results are a sequence
    counts: dict[str, int] = {}
    for result in found:
        counts[str(result.verdict)] = counts.get(str(result.verdict), 0) + 1
    return counts


if __name__ == "__main__":
    sys.exit(main())
