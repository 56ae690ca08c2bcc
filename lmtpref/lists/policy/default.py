"""The default policy, and the evaluation of a policy."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, NamedTuple

from lmtpref.lists.policy import content_rules as rules_at_end
from lmtpref.lists.policy import rules
from lmtpref.lists.policy.facts import Stage
from lmtpref.lists.policy.rules import Rule
from lmtpref.lists.policy.verdicts import ACCEPT, Accept, Defer, Discard, Hold, Reject, Verdict
from lmtpref.protocol import catalogue as say
from lmtpref.protocol.errors import UsageError
from lmtpref.protocol.replies import Reply

log = logging.getLogger(__name__)
# Called directly, it creates a named tuple without a call of a Python function.
_new = tuple.__new__

Policy = tuple[Rule[Any], ...]
_FROM_BEST_TO_WORST = (Accept, Hold, Discard, Defer, Reject)
RULE_FAILED = Defer(say.LOCAL_ERROR_451)

# At each stage the first rule that has a verdict decides.
DEFAULT_POLICY: Policy = (
    # Connect: may this client connect?
    rules.anyone,
    # LHLO: is this a known MTA?
    rules.unknown_mta,
    # MAIL: is the sender banned from all lists?
    rules.banned_everywhere,
    # RCPT: may this envelope sender send to this address?
    rules.directory_down,
    rules.members_unreadable,
    rules.retired,
    rules.postmaster,
    rules.banned_at_rcpt,
    rules.unknown_list,
    rules.not_a_post,
    rules.banned,
    rules.declared_too_big,
    rules.null_sender_waits,
    rules.accept_these_nonmembers,
    rules.header_decides,
    rules.generic_nonmember_action,
    rules.member,
    rules.closed_list,
    # DATA: may any recipient still accept the message?
    rules.null_sender_at_data,
    # End of data, for each recipient: may this message be accepted?
    rules_at_end.directory_down_since,
    rules_at_end.list_removed,
    rules_at_end.still_not_a_post,
    rules_at_end.null_sender,
    rules_at_end.header_refuses,
    rules_at_end.too_big,
    rules_at_end.no_from,
    rules_at_end.own_list,
    rules_at_end.too_many_hops,
    rules_at_end.emergency,
    rules_at_end.header_allows,
    rules_at_end.as_at_rcpt,
)


class Limit(NamedTuple):
    """A limit that the session enforces by its settings, before any rule is asked, and its reply."""

    stage: Stage
    setting: str
    reply: Reply


SESSION_LIMITS = (
    Limit(Stage.MAIL, "max_message_octets", say.DECLARED_TOO_BIG_552),
    Limit(Stage.RCPT, "max_recipients", say.TOO_MANY_RECIPIENTS_452),
    Limit(Stage.END_OF_DATA, "max_message_octets", say.MESSAGE_TOO_BIG_552),
)


class Decision(NamedTuple):
    """A verdict and its origin: the stage, and the rule that decided (None if no rule had a verdict)."""

    stage: Stage
    rule: Rule[Any] | None
    verdict: Verdict

    def __str__(self) -> str:
        return f"{self.stage.value}: {self.rule.name if self.rule else 'no rule'}: {self.verdict}"


def rules_of(policy: Iterable[Rule[Any]], stage: Stage) -> Policy:
    """Return the rules of `policy` for `stage`, in their order."""
    return tuple(rule for rule in policy if rule.stage is stage)


def decide(stage: Stage, stage_rules: Policy, facts: object) -> Decision:
    """Return the decision of the first of `stage_rules` that has a verdict; if none has, accept.

    A rule that raises an exception, or returns what it may not, is a local error: it is logged, and defers with 451 4.3.0.
    """
    for rule in stage_rules:
        try:
            if (verdict := rule.decide(facts)) is not None:
                # `kinds` holds only classes of verdicts, so such a verdict needs no check.
                if rule.kinds is None or type(verdict) not in rule.kinds:
                    _check(rule, verdict)
                return _new(Decision, (stage, rule, verdict))
        except Exception:
            log.exception("the rule %s failed", rule.name)
            return Decision(stage, rule, RULE_FAILED)
    return _new(Decision, (stage, None, ACCEPT))


def best(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the most favourable of `verdicts`, the first of equals."""
    return min(verdicts, key=lambda verdict: _FROM_BEST_TO_WORST.index(type(verdict)))


def _check(rule: Rule[Any], verdict: Verdict) -> None:
    """Check that `rule` may return `verdict`.  Raises UsageError if not."""
    if type(verdict) not in _FROM_BEST_TO_WORST:
        raise UsageError(f"not a verdict: {verdict!r}")
    if not rule.allows(verdict):
        raise UsageError(f"{rule.name} may not return this: {verdict}")
