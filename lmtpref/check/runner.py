"""The runner: it plays each case to a target, on a connection of its own, and judges the replies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from lmtpref.check.alternatives import relax
from lmtpref.check.cases import NOT_FOR_OTHERS, PAGE, Case
from lmtpref.check.conditions import condition
from lmtpref.check.played import Played
from lmtpref.check.probe import Probe, probe
from lmtpref.check.results import CaseVerdict, Result, Run
from lmtpref.check.stored import STORED, UNSEEN, MessageStore, look
from lmtpref.check.sweeps import sweep
from lmtpref.check.target import BoundedWire, Target
from lmtpref.check.usage import recipients, rejected
from lmtpref.check.world import World
from lmtpref.transcripts.matching import loosest
from lmtpref.transcripts.notation import Level
from lmtpref.transcripts.player import play
from lmtpref.transcripts.result import PlayResult, Turn

SENDER = "anne@home.test"


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """The options of a run.

    `match` is the level at which replies are compared; `strict` makes SHOULD, MAY and alternative replies count; `store`
    returns the messages that the server has stored.
    """

    match: Level = "code"
    strict: bool = False
    world: World = field(default_factory=World)
    stop_at_first: bool = False
    store: MessageStore | None = None


def run(cases: Sequence[Case], target: Target, options: CheckOptions | None = None) -> Run:
    """Play `cases` to `target`; return all results."""
    options = options or CheckOptions()
    found = examine(cases, target, options)
    played = list(each(cases, target, found, options))
    results = [one.result for one in played]
    return Run(target.name, options.match, options.strict, [*results, *sweep(played, found)], found.greeting, found.offers)


def examine(cases: Iterable[Case], target: Target, options: CheckOptions) -> Probe:
    """Return the properties of `target` that `cases` depend on."""
    wanted: dict[str, None] = {}
    for case in cases:
        if not case.given and not options.world.missing(case):
            spoken = options.world.spoken(case.transcript)
            wanted |= dict.fromkeys((*recipients(spoken), *rejected(spoken)))
    return probe(target, options.world.addresses.get(SENDER, SENDER), wanted)


def each(cases: Iterable[Case], target: Target, found: Probe, options: CheckOptions) -> Iterator[Played]:
    """Play the cases in order; stop after the first failure if the options say so."""
    for case in cases:
        played = play_case(case, target, found, options)
        yield played
        if options.stop_at_first and played.result.is_failure:
            return


def play_case(case: Case, target: Target, found: Probe, options: CheckOptions) -> Played:
    """Play one case, if it applies to `target`; every case gets a result, even after an exception."""
    if reason := _skip(case, target, found, options):
        return Played(case, _result(case, CaseVerdict.SKIPPED, reason))
    if reason := _unmet_precondition(case, found, options.world):
        return Played(case, _result(case, CaseVerdict.NOT_REACHED, reason))
    transcript = options.world.spoken(case.transcript)
    try:
        with target.connect(case.given) as wire:
            outcome = play(transcript, wire, level=loosest(options.match, transcript.level))
        result = judge(case, outcome, wire, found, strict=options.strict)
        return Played(case, result if result.is_failure or not options.store else look(result, options.store), outcome)
    except OSError as error:
        return Played(case, _result(case, CaseVerdict.ERROR, f"the connection failed: {error}"))


def judge(case: Case, outcome: PlayResult, wire: BoundedWire, found: Probe, *, strict: bool) -> Result:
    """Return the result of a case that was played."""
    said = str(wire.recording)
    outcome = _without_final_421(outcome)
    missing = [extension for extension in case.offers if extension not in found.offers]
    if missing or wire.exceeded:
        reason = wire.exceeded or f"LHLO does not list {', '.join(missing)}"
        return replace(_failure(case, reason, strict=strict), wire=said)
    if outcome.passed:
        return replace(_result(case, CaseVerdict.PASS), wire=said)
    relaxed = relax(outcome, case.accept)
    if relaxed.passed and not strict and outcome.level != "exact":
        return replace(_result(case, CaseVerdict.NON_STRICT, "with another correct reply code"), wire=said)
    difference = (outcome if strict or outcome.level == "exact" else relaxed).difference
    return replace(_failure(case, difference.partition("\n")[0], strict=strict), got=difference, wire=said)


def _without_final_421(outcome: PlayResult) -> PlayResult:
    """Return `outcome` without a 421 at its very end, because a server may announce its close (RFC 5321 section 3.8)."""
    turns = list(outcome.turns)
    if turns and turns[-1].heard and turns[-1].heard[-1][0].startswith(b"421") and len(turns[-1].heard) > len(turns[-1].expected):
        turns[-1] = Turn(turns[-1].client, turns[-1].server, turns[-1].heard[:-1])
    return replace(outcome, turns=turns)


def _failure(case: Case, reason: str, *, strict: bool) -> Result:
    """Return a failure, or its weaker form if the clauses of `case` only recommend."""
    if case.strength == "MUST" or strict:
        return _result(case, CaseVerdict.FAIL, reason)
    return _result(case, CaseVerdict.NON_STRICT, f"{case.strength} only: {reason}")


def _skip(case: Case, target: Target, found: Probe, options: CheckOptions) -> str:
    """Return why `case` does not apply to this target; empty if it does."""
    for name in case.given:
        if name in {NOT_FOR_OTHERS, PAGE} or not target.takes(name):
            return f"given {name}: {condition(name).says}"
    if address := options.world.missing(case):
        return f"no address stands for {address}"
    for need in case.needs:
        if lack := ("" if options.store else UNSEEN) if need == STORED else found.lacks(need):
            return lack
    for address in () if case.given else rejected(options.world.spoken(case.transcript)):
        if found.replies.get(address, "5")[:1] == "2":
            return f"the server accepts {address}, which it should not know"
    return ""


def _unmet_precondition(case: Case, found: Probe, world: World) -> str:
    """Return the precondition of `case` that the target does not meet; empty if it meets all."""
    if found.problem and begins_session(case):
        return found.problem
    for address in () if case.given else recipients(world.spoken(case.transcript)):
        if found.replies.get(address, "2")[:1] != "2":
            return f"RCPT TO:<{address}> was answered {found.replies[address]}"
    return ""


def begins_session(case: Case) -> bool:
    """Return whether `case` needs a greeting of 220; the others are about servers that reject sessions."""
    first = case.transcript.steps[0]
    return first.who == "C" or first.octets.startswith(b"220")


def _result(case: Case, verdict: CaseVerdict, reason: str = "") -> Result:
    return Result(case.id, case.page, case.line, case.strength, case.requirements, verdict, reason)
