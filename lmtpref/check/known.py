"""Known failures: a file of the cases that are expected to fail, each with the reason."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lmtpref.check.results import CaseVerdict, Result, Run
from lmtpref.config.toml import line_of, read_toml
from lmtpref.protocol.errors import ConfigurationError

UNEXPLAINED = "not explained yet"


def load(path: Path) -> dict[str, str]:
    """Return the known failures in a TOML file of `"case" = "reason"` lines.

    Raises ConfigurationError, naming file, line and key, for a case without a reason.
    """
    text, table = read_toml(path)
    for key, value in table.items():
        if not isinstance(value, str) or not value.strip():
            raise ConfigurationError("a known failure needs its reason", file=path, line=line_of(text, None, key), key=key)
    return table


def expect(run: Run, known: Mapping[str, str], ids: frozenset[str]) -> Run:
    """Return `run` with the failures in `known` marked as expected; an unknown case in it is a problem of the run."""
    results = [replace(result, known=known.get(result.id, "")) for result in run.results]
    swept = {result.id for result in run.results}
    problems = [f"known failure {name!r}: there is no such case" for name in known if name not in ids | swept]
    return replace(run, results=results, problems=[*run.problems, *problems])


def as_toml(results: Sequence[Result], known: Mapping[str, str]) -> str:
    """Return the failures among `results` in the format of that file, with the known reasons."""
    failed = [result for result in results if result.verdict in {CaseVerdict.FAIL, CaseVerdict.ERROR, CaseVerdict.NOT_REACHED}]
    lines = [f"{json.dumps(result.id)} = {json.dumps(known.get(result.id, UNEXPLAINED), ensure_ascii=False)}\n" for result in failed]
    return "".join(lines)
