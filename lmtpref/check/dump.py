"""Every case as data, for programs in other languages that run the suite themselves."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from lmtpref.check.cases import Case
from lmtpref.check.conditions import conditions
from lmtpref.check.usage import recipients, rejected
from lmtpref.transcripts.notation import Step
from lmtpref.transcripts.opening import LHLO, OPENING_CODES, has_implied_opening

FORMAT = 1


def as_json(cases: Iterable[Case]) -> str:
    """Return `cases`, and the descriptions of the conditions, as JSON."""
    asked = {name: {"says": condition.says} | condition.tables for name, condition in conditions().items()}
    return json.dumps({"format": FORMAT, "conditions": asked, "cases": list(map(_case, cases))}, indent=1, ensure_ascii=False) + "\n"


def _case(case: Case) -> dict[str, Any]:
    clauses = [{"id": one.id, "level": one.level, "text": one.text, "link": one.link} for one in case.requirements]
    world = {"recipients": recipients(case.transcript), "rejected": rejected(case.transcript), "messages": case.messages}
    head = {"id": case.id, "suite": case.suite, "page": case.page, "line": case.line, "strength": case.strength, "clauses": clauses}
    asks = {"given": case.given, "needs": case.needs, "offers": case.offers} | world
    return (
        head | asks | {"match": case.transcript.level, "steps": [*_opening(case), *(_step(case, step) for step in case.transcript.steps)]}
    )


def _opening(case: Case) -> list[dict[str, Any]]:
    """Return the steps that a transcript omits if it begins with the client's line."""
    if not has_implied_opening(case.transcript):
        return []
    greeting, lhlo = ({"do": "expect", "code": code.decode(), "accept": []} for code in OPENING_CODES)
    return [greeting, {"do": "send", "text": f"{LHLO}\r\n"}, lhlo]


def _step(case: Case, step: Step) -> dict[str, Any]:
    line = step.lines[0]
    if step.what == "close":
        return {"do": "half-close"} if step.who == "C" else {"do": "expect-close"}
    if step.what == "pause":
        return {"do": "pause" if step.who == "C" else "expect-silence", "seconds": line.seconds}
    if step.who == "C":
        return {"do": "send"} | _octets(step.octets)
    accept = case.accept.get(line.number, ())
    return {"do": "expect", "code": line.octets[:3].decode(), "accept": accept, "lines": [written.text for written in step.lines]}


def _octets(octets: bytes) -> dict[str, str]:
    """Return octets as text if they are UTF-8, else in hexadecimal."""
    try:
        return {"text": octets.decode()}
    except UnicodeDecodeError:
        return {"hex": octets.hex()}
