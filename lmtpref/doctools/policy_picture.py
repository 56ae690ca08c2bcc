"""The policy as a picture: what each rule may say, read from the rule itself, and drawn as SVG."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from inspect import getclosurevars
from types import FunctionType
from typing import Any

from lmtpref.doctools.picture import box, document, width_of
from lmtpref.lists.policy.default import SESSION_LIMITS, Policy, rules_of
from lmtpref.lists.policy.facts import Stage
from lmtpref.lists.policy.rules import Rule
from lmtpref.lists.policy.verdicts import Accept, Defer, Discard, Hold, Reject, Verdict
from lmtpref.protocol import catalogue
from lmtpref.protocol.replies import Reply

WIDTH, ROW, BAND, EDGE = 470, 26, 34, 8
_NAME_AT, _SAYS_AT = 20, 212


def verdicts_of(rule: Rule[Any]) -> list[str]:
    """What `rule` may say, in the words of the picture; read from the names that its function uses."""
    return list(dict.fromkeys(_words(found) for found in _said(rule.decide)))


def replies_of(rule: Rule[Any]) -> list[Reply]:
    """Return the replies that `rule` may give."""
    return [reply for said in _said(rule.decide) if (reply := said if isinstance(said, Reply) else said.reply)]


def draw(policy: Policy) -> str:
    """`policy` as an SVG document: a band for each stage, a row for each rule in their order, what it may say to its right."""
    rows, y = [], EDGE
    for stage in Stage:
        rows.append(_band(stage, y))
        y += BAND
        lines = [*((limit.setting, [_words(limit.reply)], "session") for limit in SESSION_LIMITS if limit.stage is stage)]
        lines += [(rule.name, verdicts_of(rule), "rule") for rule in rules_of(policy, stage)]
        for name, says, kind in lines:
            rows.append(_row(name, says, kind, y))
            y += ROW
        y += EDGE
    return document("The default policy", rows, WIDTH, y)


def _said(decide: Any) -> Iterator[Verdict | Reply]:  # noqa: ANN401 - a function
    """The verdicts and replies that a function names, and those of our functions that it calls."""
    assert isinstance(decide, FunctionType)
    used = getclosurevars(decide).globals
    for name in decide.__code__.co_names:
        value = used.get(name)
        if isinstance(value, FunctionType):
            yield from _said(value)
        elif isinstance(value, dict):
            yield from (item for item in value.values() if item is not None)
        elif isinstance(value, Accept | Hold | Discard | Reject | Defer):
            yield value
        elif isinstance(reply := vars(catalogue).get(name), Reply):
            yield reply
        elif value in (Hold, Discard):
            yield value("as unvouched says")
    if {"verdict", "by_header"} & set(decide.__code__.co_names) and decide.__name__ != "_object":
        yield _EARLIER


_EARLIER = Hold("what was decided before")


def _words(said: Verdict | Reply) -> str:
    if said is _EARLIER:
        return _EARLIER.reason
    if isinstance(said, Reply):
        return f"{said.code} {said.enhanced}"
    return _words(said.reply) if said.reply else type(said).__name__.lower()


def _band(stage: Stage, y: int) -> str:
    line = f'<path class="line" d="M{EDGE} {y + 29}H{WIDTH - EDGE}"/>'
    return f'<text class="stage" x="{EDGE}" y="{y + 22}">{escape(stage.value)}</text>{line}'


def _row(name: str, says: Iterable[str], kind: str, y: int) -> str:
    boxes, x = [], _SAYS_AT
    for word in says:
        boxes.append(box(word, x, y))
        x += width_of(word) + 6
    return f'<text class="{kind}" x="{_NAME_AT}" y="{y + 17}">{escape(name)}</text>{"".join(boxes)}'
