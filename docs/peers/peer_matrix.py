"""The numbers of each server as a table, for the first page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

VERDICTS = ("pass", "pass (non-strict)", "fail", "skipped")


def matrix(record: Mapping[str, Any]) -> str:
    """Return a row a server as reStructuredText: the reference first, then those of other people."""
    reference = record["reference"]["TCP"]["counts"]
    rows = [["server", *VERDICTS], ["lmtpref, strictly", *_counts(reference)]]
    rows += [[f"{name} {peer['version']}", *_counts(peer["counts"])] for name, peer in record["peers"].items()]
    lines = [", ".join(f'"{cell}"' for cell in row) for row in rows]
    return "\n".join(
        [".. Written by play.py; not to be edited.", "", ".. csv-table::", "   :header-rows: 1", "", *(f"   {line}" for line in lines), ""]
    )


def _counts(counts: Mapping[str, int]) -> list[str]:
    return [str(counts.get(verdict, 0)) for verdict in VERDICTS]
