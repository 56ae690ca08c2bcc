"""Sweeps: checks of clauses that apply to every reply, on all replies of a target."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from lmtpref.check.played import Played
from lmtpref.check.probe import Probe
from lmtpref.check.requirements import Requirement, load
from lmtpref.check.results import CaseVerdict, Result
from lmtpref.check.usage import answered
from lmtpref.transcripts.finder import shipped
from lmtpref.transcripts.matching import Heard

PAGE = "use/check"
_LINE_OCTETS = 512  # of a reply, with CRLF (RFC 5321 section 4.5.3.1.5)
_ENHANCED = re.compile(rb"[245]\d\d[ -]([245])\.\d{1,3}\.\d{1,3}(?: |$)")
_REPLY_LINE = re.compile(rb"[2-5][0-5]\d(?:[ -].*)?", re.DOTALL)
_WITHOUT_CODES = {"", "LHLO", "EHLO", "HELO"}  # the greeting, and the commands that RFC 2034 exempts


class SweptReply(NamedTuple):
    """One reply, the verb that it answers, and the case in which it came."""

    case: str
    verb: str
    lines: Heard


class Sweep(NamedTuple):
    """A check of every reply: the clause, its preconditions, and why a reply violates it (empty if it does not)."""

    id: str
    clause: str
    needs: str
    fault: Callable[[SweptReply], str]


def sweep(played: Sequence[Played], found: Probe) -> list[Result]:
    """Return a result for each sweep over the replies of all cases that passed; none if no case was played."""
    replies = [reply for one in played for reply in _replies(one)]
    clauses = load(shipped())
    return [_swept(one, replies, clauses[one.clause], found) for one in SWEEPS] if replies else []


def _replies(played: Played) -> Iterator[SweptReply]:
    """Yield the replies of a case that passed."""
    if played.outcome is None or played.result.verdict not in {CaseVerdict.PASS, CaseVerdict.NON_STRICT}:
        return
    transcript = played.outcome.transcript
    verbs = answered(transcript)
    steps = [step for step in transcript.steps if step.who == "S" and step.what == "say"]
    heard = [reply for turn in played.outcome.turns for reply in turn.heard]
    for step, lines in zip(steps, heard, strict=False):
        yield SweptReply(played.case.id, verbs.get(step.lines[0].number, ""), lines)


def _swept(one: Sweep, replies: Sequence[SweptReply], clause: Requirement, found: Probe) -> Result:
    if one.needs and one.needs not in found.offers:
        return Result(one.id, PAGE, 0, clause.strength, (clause,), CaseVerdict.SKIPPED, f"{one.needs} is not offered")
    for reply in replies:
        if fault := one.fault(reply):
            spelt = "\n".join(f"S: {line.decode('utf-8', 'backslashreplace')}" for line in reply.lines)
            verdict = CaseVerdict.FAIL if clause.strength == "MUST" else CaseVerdict.NON_STRICT
            return Result(one.id, PAGE, 0, clause.strength, (clause,), verdict, f"{fault}, in {reply.case}", spelt, spelt)
    return Result(one.id, PAGE, 0, clause.strength, (clause,), CaseVerdict.PASS)


def _malformed(reply: SweptReply) -> str:
    if not all(_REPLY_LINE.fullmatch(line) for line in reply.lines):
        return "a reply line does not begin with a code"
    return "the lines of one reply have different codes" if len({line[:3] for line in reply.lines}) > 1 else ""


def _too_long(reply: SweptReply) -> str:
    return f"a reply line has more than {_LINE_OCTETS} octets" if any(len(line) + 2 > _LINE_OCTETS for line in reply.lines) else ""


def _not_ascii(reply: SweptReply) -> str:
    return "" if all(line.isascii() for line in reply.lines) else "a reply is not ASCII"


def _without_code(reply: SweptReply) -> str:
    codes = [_ENHANCED.match(line) for line in _with_codes(reply)]
    return "" if all(codes) else f"the reply to {reply.verb} has no enhanced code on every line"


def _other_class(reply: SweptReply) -> str:
    codes = [(match, line) for line in _with_codes(reply) if (match := _ENHANCED.match(line))]
    return f"an enhanced code is of another class than the reply to {reply.verb}" if any(c[1] != line[:1] for c, line in codes) else ""


def _with_codes(reply: SweptReply) -> Sequence[bytes]:
    """Return the lines that need an enhanced code by RFC 2034: not those of 354, the greeting and LHLO's reply."""
    return () if reply.verb in _WITHOUT_CODES else [line for line in reply.lines if line[:1] in {b"2", b"4", b"5"}]


SWEEPS = (
    Sweep("every-reply-is-well-formed", "5321-4.2.1-a", "", _malformed),
    Sweep("every-reply-line-is-short", "5321-4.5.3.1.5-a", "", _too_long),
    Sweep("every-reply-is-ascii", "5321-4.2-b", "", _not_ascii),
    Sweep("every-reply-has-an-enhanced-code", "2034-4-a", "ENHANCEDSTATUSCODES", _without_code),
    Sweep("every-enhanced-code-agrees", "2034-4-d", "ENHANCEDSTATUSCODES", _other_class),
)
