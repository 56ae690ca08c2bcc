"""The policy as a picture: each rule with the verdicts that it may return, drawn as SVG."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any

from lmtpref.doctools.picture import box, document, width_of
from lmtpref.lists.policy.default import SESSION_LIMITS, Policy, rules_of
from lmtpref.lists.policy.facts import Stage
from lmtpref.lists.policy.rules import Rule
from lmtpref.lists.policy.verdicts import Allowed
from lmtpref.protocol.replies import Reply

WIDTH, ROW, BAND, EDGE = 412, 26, 34, 8
_NAME_AT, _SAYS_AT = 20, 212


def verdicts_of(rule: Rule[Any]) -> list[str]:
    """Return the possible verdicts of `rule` in the words of the picture; "anything" if the rule does not restrict them."""
    return ["anything"] if rule.may is None else [_words(allowed) for allowed in rule.may]


def replies_of(rule: Rule[Any]) -> list[Reply]:
    """Return the possible replies of `rule`."""
    return [allowed for allowed in rule.may or () if isinstance(allowed, Reply)]


def draw(policy: Policy) -> str:
    """Return `policy` as an SVG document: a band for each stage, and in it a row for each rule with its possible verdicts."""
    rows, y = [], EDGE
    for stage in Stage:
        rows.append(_band(stage, y))
        y += BAND
        lines = [*((limit.setting, [_words(limit.reply)], "session") for limit in SESSION_LIMITS if limit.stage is stage)]
        lines += [(rule.name, verdicts_of(rule), "rule") for rule in rules_of(policy, stage)]
        for name, says, kind in lines:
            boxes, height = _boxes(says, y)
            rows += [f'<text class="{kind}" x="{_NAME_AT}" y="{y + 17}">{escape(name)}</text>', *boxes]
            y += height
        y += EDGE
    return document("The default policy", rows, WIDTH, y)


def _words(allowed: Allowed) -> str:
    return f"{allowed.code} {allowed.enhanced}" if isinstance(allowed, Reply) else allowed.__name__.lower()


def _band(stage: Stage, y: int) -> str:
    line = f'<path class="line" d="M{EDGE} {y + 29}H{WIDTH - EDGE}"/>'
    return f'<text class="stage" x="{EDGE}" y="{y + 22}">{escape(stage.value)}</text>{line}'


def _boxes(says: Iterable[str], y: int) -> tuple[list[str], int]:
    """Return the boxes of a rule, in a second row if one is too narrow, and the height of their rows."""
    boxes, x, row = [], _SAYS_AT, 0
    for word in says:
        if x + width_of(word) > WIDTH - EDGE:
            x, row = _SAYS_AT, row + ROW
        boxes.append(box(word, x, y + row))
        x += width_of(word) + 6
    return boxes, row + ROW
