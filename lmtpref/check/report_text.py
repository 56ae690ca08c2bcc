"""The report for a terminal: each failure as it happens, then the summary."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence

from lmtpref.check.cases import Case
from lmtpref.check.results import CaseVerdict, Result, Run

_INDENT = "    "
SIGNS = {
    CaseVerdict.PASS: "✓",
    CaseVerdict.NON_STRICT: "≈",
    CaseVerdict.FAIL: "✗",
    CaseVerdict.ERROR: "!",
    CaseVerdict.SKIPPED: "-",
    CaseVerdict.NOT_REACHED: "·",
}
_GIVEN = re.compile(r"given (\S+):")


def listing(case: Case) -> str:
    """Return the line of one case in `--list`."""
    conditions = [*(f"given {name}" for name in case.given), *(f"needs {need}" for need in case.needs)]
    clauses = " ".join(requirement.id for requirement in case.requirements)
    return f"{case.id}  {case.strength}  {clauses}" + (f"  ({', '.join(conditions)})" if conditions else "")


def failure(result: Result) -> str:
    """Return the full report on a case that did not pass."""
    place = f"{result.page}.rst:{result.line}" if result.line else f"{result.page}.rst"
    lines = [f"{result.verdict.upper()}: {result.id}  ({place})"]
    for requirement in result.requirements:
        lines += textwrap.wrap(str(requirement), 100, initial_indent=_INDENT, subsequent_indent=_INDENT)
        lines += [_INDENT + requirement.link] if requirement.link else []
    lines += [f"{_INDENT}known failure: {result.known}"] if result.known else []
    detail = result.got or result.reason
    return "\n".join([*lines, *(f"{_INDENT}{line}" for line in detail.splitlines())]) + "\n"


def conversation(result: Result) -> str:
    """Return the conversation of a case."""
    return f"{result.id}: {result.verdict}\n" + textwrap.indent(result.wire, _INDENT)


def summary(run: Run) -> str:
    """Return the last lines of a run: the reasons for skips, then the counts."""
    return "\n".join(_summary(run)) + "\n"


def matrix(runs: Sequence[Run]) -> str:
    """Return the verdicts of several runs for each case that any of them did not skip: a column for each, in their order."""
    columns = [{result.id: result.verdict for result in run.results} for run in runs]
    names = [f"{number} {run.target}" for number, run in enumerate(runs, 1)]
    ids = dict.fromkeys(result.id for run in runs for result in run.results if result.verdict is not CaseVerdict.SKIPPED)
    rows = (f"{' '.join(SIGNS[column[id_]] if id_ in column else ' ' for column in columns)}  {id_}" for id_ in ids)
    signs = ", ".join(f"{sign} {verdict}" for verdict, sign in SIGNS.items())
    return "\n".join([*names, signs, " ".join(str(number) for number in range(1, len(runs) + 1)), *rows]) + "\n"


def counted(number: int, thing: str) -> str:
    """Return `number` and `thing`, in the plural unless there is one."""
    return f"{number} {thing}" + "s" * (number != 1)


def _summary(run: Run) -> Iterator[str]:
    given = Counter[str]()
    for reason, count in run.skipped.most_common():
        if name := _GIVEN.match(reason):
            given[name[1]] += count
        else:
            yield f"skipped {count:>3}: {reason}"
    if given:
        yield f"skipped {given.total():>3}: conditions that the server is not in ({', '.join(given)})"
    known = sum(bool(result.known) and result.is_failure for result in run.results)
    for result in run.unexpected:
        if result.known:
            yield f"{result.id}: passed, but is listed as a known failure ({result.known})"
    yield from run.problems
    counts = ", ".join(f"{run.counts[verdict]} {verdict}" for verdict in CaseVerdict if run.counts[verdict])
    yield f"{run.target}: {counted(len(run.results), 'case')}: {counts or 'none'}" + (f", of which {known} known" if known else "")
