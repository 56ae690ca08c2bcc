"""The numbers of each server as a table, for the first page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

VERDICTS = ("pass", "pass (non-strict)", "fail", "skipped")
_PROTOCOL = "protocol"
_ACCEPTANCE = "acceptance"


def matrix(record: Mapping[str, Any]) -> str:
    """Return a row a server as reStructuredText: the reference first, then those of other people."""
    reference = record["reference"]["TCP"]["counts"]
    rows = [["server", *VERDICTS, f"suite {_ACCEPTANCE}"], ["lmtpref, strictly", *_cells(reference)]]
    rows += [[f"{name} {peer['version']}", *_cells(peer["counts"])] for name, peer in record["peers"].items()]
    lines = [", ".join(f'"{cell}"' for cell in row) for row in rows]
    return "\n".join(
        [".. Written by play.py; not to be edited.", "", ".. csv-table::", "   :header-rows: 1", "", *(f"   {line}" for line in lines), ""]
    )


def _cells(counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Return a cell for each verdict on the suite `protocol`, and one for the suite `acceptance`."""
    lists = ", ".join(f"{counts[_ACCEPTANCE][verdict]} {verdict}" for verdict in VERDICTS if verdict in counts[_ACCEPTANCE])
    return [*(str(counts[_PROTOCOL].get(verdict, 0)) for verdict in VERDICTS), lists]
