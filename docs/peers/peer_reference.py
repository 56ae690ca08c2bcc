"""The reference server on its three transports, in every condition, strictly and exactly."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import groupby

from lmtpref.check import Case, CheckOptions, CommandTarget, ListeningTarget, Result, Target, run
from lmtpref.cli.serve_given import NONE, reference

TRANSPORTS = ("TCP", "Unix socket", "standard streams")
_STRICTLY = CheckOptions(match="exact", strict=True)


def results(cases: Sequence[Case], transport: str) -> list[Result]:
    """Return the result of each case on one transport, those with the same conditions against one server."""
    ordered = sorted(cases, key=lambda case: case.given)
    groups = [(given, list(group)) for given, group in groupby(ordered, key=lambda case: case.given)]
    return [result for given, group in groups for result in _results(given, group, transport)]


def _results(given: Sequence[str], cases: Sequence[Case], transport: str) -> list[Result]:
    ids = {case.id for case in cases}
    with _target(given, transport) as target:
        return [result for result in run(cases, target, _STRICTLY).results if result.id in ids]


@contextlib.contextmanager
def _target(given: Sequence[str], transport: str) -> Iterator[Target]:
    conditions = frozenset(given)
    with tempfile.TemporaryDirectory() as folder:
        if transport == "standard streams":
            names = ",".join(given) or NONE
            command = f"{sys.executable} -m lmtpref.cli.main serve --stdio --spool {folder}/spool --given {names}"
            yield CommandTarget(command, given=conditions)
            return
        with reference(given, listen=f"unix:{folder}/lmtp" if transport == "Unix socket" else "127.0.0.1:0") as server:
            yield ListeningTarget(server.addresses[0], given=conditions)
