"""`# accept:` lines: further reply codes that are correct."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lmtpref.check.usage import answered
from lmtpref.protocol.errors import UsageError
from lmtpref.transcripts.matching import Heard, agrees
from lmtpref.transcripts.notation import Level, Step, Transcript
from lmtpref.transcripts.result import PlayResult, Turn

Codes = tuple[str, ...]


def alternatives(transcript: Transcript) -> dict[int, Codes]:
    """Return the further codes that are correct for a reply, by the number of its first line.

    A value of `accept` is `CODE CODE...` or `VERB CODE CODE...`: the transcript's code, then the codes that may replace
    it; `5xx` is any code of that class.  Raises UsageError for another form.
    """
    verbs = answered(transcript)
    found: dict[int, Codes] = {}
    for rule in map(_rule, transcript.values("accept")):
        for number in _replies(transcript, rule, verbs):
            found[number] = found.get(number, ()) + rule[2]
    return found


def idle(transcript: Transcript) -> list[str]:
    """Return the values of `accept` that apply to no reply."""
    verbs = answered(transcript)
    return [value for value in transcript.values("accept") if not _replies(transcript, _rule(value), verbs)]


def relax(outcome: PlayResult, allowed: Mapping[int, Codes]) -> PlayResult:
    """Return `outcome` as if the transcript had the received codes, if `allowed` has them."""
    heard = [reply for turn in outcome.turns for reply in turn.heard]
    turns = []
    for turn in outcome.turns:
        server = []
        for step in turn.server:
            came = heard.pop(0) if step.what == "say" and heard else None
            server.append(_relaxed(step, came, outcome.level, allowed, keywords=turn.greets) if came else step)
        turns.append(Turn(turn.client, server, turn.heard))
    return replace(outcome, turns=turns)


def _relaxed(step: Step, came: Heard, level: Level, allowed: Mapping[int, Codes], *, keywords: bool) -> Step:
    code = came[0][:3]
    if agrees(step, came, level, keywords=keywords) or not any(_matches(code, other) for other in allowed.get(step.lines[0].number, ())):
        return step
    return replace(step, lines=tuple(replace(line, octets=code + line.octets[3:]) for line in step.lines))


def _matches(code: bytes, pattern: str) -> bool:
    return code.isdigit() and all(wanted in {"x", digit} for wanted, digit in zip(pattern, code.decode("latin-1"), strict=False))


def _replies(transcript: Transcript, rule: tuple[str, str, Codes], verbs: Mapping[int, str]) -> list[int]:
    """Return the first lines of the replies that a value of `accept` applies to."""
    verb, code, _ = rule
    replies = (step.lines[0] for step in transcript.steps if step.who == "S" and step.what == "say")
    return [line.number for line in replies if line.octets[:3].decode("latin-1") == code and verb in {"", verbs.get(line.number)}]


def _rule(value: str) -> tuple[str, str, Codes]:
    """Return verb, code and alternatives in one value of `accept`."""
    words = value.split()
    verb = words.pop(0) if words and not words[0][0].isdigit() else ""
    if len(words) < 2 or not all(_is_pattern(word) for word in words) or "x" in words[0]:
        raise UsageError(f"accept: an optional verb, then the transcript's code and the other correct codes: {value!r}")
    return verb, words[0], tuple(words[1:])


def _is_pattern(word: str) -> bool:
    return len(word) == 3 and word[0] in "2345" and all(digit == "x" or digit.isdigit() for digit in word)
