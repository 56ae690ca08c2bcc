"""Reports as data: a run as JSON, which can be read again for comparisons, and as JUnit XML."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

from lmtpref.check.report_text import failure
from lmtpref.check.requirements import Requirement
from lmtpref.check.results import CaseVerdict, Result, Run
from lmtpref.protocol.errors import UsageError

FORMAT = 1  # of the JSON report; other numbers are rejected


def as_json(run: Run) -> str:
    """Return `run` as JSON."""
    head = {"format": FORMAT, "target": run.target, "match": run.match, "strict": run.strict, "greeting": run.greeting}
    counts = {str(verdict): run.counts[verdict] for verdict in CaseVerdict if run.counts[verdict]}
    body = {"offers": dict(run.offers), "counts": counts, "problems": list(run.problems), "results": list(map(_result, run.results))}
    return json.dumps(head | body, indent=1, ensure_ascii=False) + "\n"


def load(path: Path) -> Run:
    """Return the run in a JSON report.  Raises UsageError if the file is not such a report."""
    try:
        data = json.loads(path.read_text("utf-8"))
        if data["format"] != FORMAT:
            raise UsageError(f"{path}: a report of format {data['format']}, not {FORMAT}")
        results = [_of_json(result) for result in data["results"]]
        return Run(data["target"], data["match"], data["strict"], results, data["greeting"], data["offers"], data["problems"])
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path}: not a report of lmtpref check: {error!r}") from None


def as_junit(run: Run) -> str:
    """Return `run` as JUnit XML: a test case for each case, with the page as its class."""
    failed = [result for result in run.results if result.is_unexpected and result.verdict is not CaseVerdict.ERROR]
    errors = [result for result in run.results if result.verdict is CaseVerdict.ERROR and not result.known]
    skipped = [result for result in run.results if result.verdict is CaseVerdict.SKIPPED or (result.known and result.is_failure)]
    counts = {"tests": len(run.results), "failures": len(failed), "errors": len(errors), "skipped": len(skipped)}
    suite = Element("testsuite", {"name": f"lmtpref check {run.target}"} | {name: str(count) for name, count in counts.items()})
    for result in run.results:
        case = SubElement(suite, "testcase", {"classname": result.page.replace("/", "."), "name": result.id})
        if result in skipped:
            SubElement(case, "skipped", {"message": result.known or result.reason})
        elif result.is_unexpected:
            SubElement(case, "error" if result in errors else "failure", {"message": result.reason}).text = _printable(failure(result))
    return tostring(suite, encoding="unicode", xml_declaration=True)


def _result(result: Result) -> dict[str, Any]:
    clauses = [
        {name: getattr(requirement, name) for name in ("id", "rfc", "section", "party", "level", "text")} | {"link": requirement.link}
        for requirement in result.requirements
    ]
    fields = {name: getattr(result, name) for name in ("id", "page", "line", "strength", "verdict", "known", "reason", "got", "wire")}
    return {name: str(value) if name == "verdict" else value for name, value in fields.items()} | {"clauses": clauses}


def _of_json(data: dict[str, Any]) -> Result:
    clauses = tuple(Requirement(**{name: value for name, value in clause.items() if name != "link"}) for clause in data["clauses"])
    rest = {name: value for name, value in data.items() if name not in {"clauses", "verdict"}}
    return Result(**rest, verdict=CaseVerdict(data["verdict"]), requirements=clauses)


def _printable(text: str) -> str:
    """Return `text` without the characters that XML does not allow."""
    return "".join(character if character.isprintable() or character == "\n" else repr(character)[1:-1] for character in text)
