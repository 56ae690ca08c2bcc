"""The report as one HTML page without scripts or other files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from itertools import groupby

from lmtpref.check.report_text import SIGNS
from lmtpref.check.requirements import Requirement
from lmtpref.check.results import CaseVerdict, Result, Run
from lmtpref.protocol.printable import printable_lines

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --pass: #1f7a45; --lenient: #8a6100; --fail: #c22a22; --quiet: #666; }
@media (prefers-color-scheme: dark) { :root { --pass: #4cc38a; --lenient: #e0a92e; --fail: #ff7b72; --quiet: #a0a0a0; } }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; } td, th { border-bottom: 1px solid var(--line); padding: .2rem .6rem; text-align: left; }
pre { overflow-x: auto; padding: .6rem; border: 1px solid var(--line); }
summary { cursor: pointer; } section { margin: 1.5rem 0; }
.verdict { font-weight: 600; white-space: nowrap; } .reason { color: var(--quiet); }
.pass { color: var(--pass); } .lenient { color: var(--lenient); } .fail { color: var(--fail); } .quiet { color: var(--quiet); }
.turn { display: block; width: fit-content; max-width: 75%; padding: 0 .6rem; white-space: pre-wrap; overflow-wrap: anywhere; }
.client { border-left: 3px solid #4a90d9; } .server { border-left: 3px solid #3aa76d; margin-left: 25%; }
"""
_CLASSES = {
    CaseVerdict.PASS: "pass",
    CaseVerdict.NON_STRICT: "lenient",
    CaseVerdict.FAIL: "fail",
    CaseVerdict.ERROR: "fail",
    CaseVerdict.SKIPPED: "quiet",
    CaseVerdict.NOT_REACHED: "fail",
}


def as_html(run: Run) -> str:
    """Return the report of one run: the counts, the failures with their conversations, then every case by its RFC."""
    failed = [result for result in run.results if result.is_failure or result.is_unexpected]
    offered = f"Offered: {escape(' '.join(run.offers) or 'nothing')}."
    level = f"Replies compared at the level <code>{escape(run.match)}</code>{', strictly' if run.strict else ''}."
    parts = [f"<h1>lmtpref check: {escape(run.target)}</h1>", f"<p>{escape(run.greeting)}</p><p>{offered} {level}</p>", _counts(run)]
    if failed:
        parts += ["<h2>Failures</h2>", *map(_failure, failed)]
    parts += ["<h2>Cases</h2>", *_by_rfc(run.results)]
    return _page(f"lmtpref check: {run.target}", parts)


def as_matrix(runs: Sequence[Run]) -> str:
    """Return the page that compares several runs: a row for each case, a column for each target."""
    verdicts = [{result.id: result for result in run.results} for run in runs]
    results = {result.id: result for run in runs for result in run.results}
    head = "".join(f"<th>{escape(run.target)}</th>" for run in runs)
    rows = "".join(
        f"<tr><td>{escape(id_)}</td>{''.join(_cell(column.get(id_)) for column in verdicts)}</tr>"
        for id_, result in results.items()
        if result
    )
    return _page(
        "lmtpref check", [f"<h1>lmtpref check</h1><table><thead><tr><th>case</th>{head}</tr></thead><tbody>{rows}</tbody></table>"]
    )


def _page(title: str, parts: Iterable[str]) -> str:
    """Return a page; control characters of a target, which could reverse the direction of its text, are escaped."""
    return printable_lines(
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body>\n{chr(10).join(parts)}\n</body></html>\n"
    )


def _counts(run: Run) -> str:
    rows = "".join(f"<tr><td>{_verdict(verdict)}</td><td>{run.counts[verdict]}</td></tr>" for verdict in CaseVerdict if run.counts[verdict])
    return f"<table>{rows}</table>"


def _verdict(verdict: CaseVerdict) -> str:
    return f'<span class="verdict {_CLASSES[verdict]}">{SIGNS[verdict]} {verdict}</span>'


def _cell(result: Result | None) -> str:
    if result is None:
        return "<td></td>"
    return f'<td class="{_CLASSES[result.verdict]}" title="{escape(result.reason)}">{SIGNS[result.verdict]}</td>'


def _failure(result: Result) -> str:
    clauses = "".join(f"<li>{_clause(requirement)}</li>" for requirement in result.requirements)
    known = f"<p>Known failure: {escape(result.known)}</p>" if result.known else ""
    detail = f"<pre>{escape(result.got or result.reason)}</pre>"
    wire = f"<details><summary>The conversation</summary>{_ladder(result.wire)}</details>" if result.wire else ""
    name = escape(result.id)
    return f'<section id="{name}"><h3>{name} {_verdict(result.verdict)}</h3><ul>{clauses}</ul>{known}{detail}{wire}</section>'


def _clause(requirement: Requirement) -> str:
    text = escape(str(requirement))
    return f'<a href="{escape(requirement.link)}">{text}</a>' if requirement.link else text


def _ladder(wire: str) -> str:
    turns = (f'<span class="turn {"client" if line.startswith("C") else "server"}">{escape(line)}</span>' for line in wire.splitlines())
    return f"<div>{''.join(turns)}</div>"


def _by_rfc(results: Sequence[Result]) -> Iterator[str]:
    """Yield a table for each RFC; a case is listed at the first clause that it cites."""
    ordered = sorted(results, key=_first_clause)
    for rfc, group in groupby(ordered, key=lambda result: _first_clause(result)[0]):
        rows = "".join(_row(result) for result in group)
        yield f"<h3>{escape(f'RFC {rfc}' if rfc.isdigit() else rfc or 'Documents')}</h3><table>{rows}</table>"


def _row(result: Result) -> str:
    clauses = ", ".join(requirement.id for requirement in result.requirements)
    name = f'<a href="#{escape(result.id)}">{escape(result.id)}</a>' if result.is_failure else escape(result.id)
    verdict = f'{_verdict(result.verdict)} <span class="reason">{escape(result.reason)}</span>'
    return f"<tr><td>{name}</td><td>{escape(clauses)}</td><td>{verdict}</td></tr>"


def _first_clause(result: Result) -> tuple[str, str]:
    return (result.requirements[0].rfc, result.requirements[0].id) if result.requirements else ("", "")
