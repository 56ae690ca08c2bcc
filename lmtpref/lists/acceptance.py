"""The default policy, and how a policy decides."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from lmtpref.lists import rules
from lmtpref.lists.facts import Stage
from lmtpref.lists.rules import Rule
from lmtpref.lists.verdicts import ACCEPT, Verdict

Policy = tuple[Rule[Any], ...]

# Read from top to bottom: at each stage the first rule that has a verdict decides.
DEFAULT_POLICY: Policy = (
    # LHLO: is this an MTA that we take mail from?
    rules.unknown_mta,
    # MAIL: is the sender barred from every list?
    rules.banned_everywhere,
    # RCPT: may this sender send to this address?  The envelope decides.
    rules.postmaster,
    rules.unknown_list,
    rules.not_a_post,
    rules.declared_too_big,
    rules.null_sender_waits,
    rules.accept_these_nonmembers,
    rules.generic_nonmember_action,
    rules.member,
    rules.closed_list,
    # DATA: can any recipient still take it?
    rules.null_sender_at_data,
    # End of data, for each recipient: may this message go there?
    rules.list_removed,
    rules.null_sender,
    rules.too_big,
    rules.as_at_rcpt,
)


class Decision(NamedTuple):
    """A verdict, and how it came about: the rule that gave it (None if none objected) and what the rule was told."""

    stage: Stage
    rule: Rule[Any] | None
    verdict: Verdict
    facts: Any

    def __str__(self) -> str:
        return f"{self.stage.value}: {self.rule.name if self.rule else 'no rule'}: {self.verdict}"


def rules_of(policy: Iterable[Rule[Any]], stage: Stage) -> Policy:
    """The rules of `policy` that speak at `stage`, in their order."""
    return tuple(rule for rule in policy if rule.stage is stage)


def decide(stage: Stage, stage_rules: Policy, facts: object) -> Decision:
    """The decision of the first of `stage_rules` that has a verdict; if none has, accept."""
    for rule in stage_rules:
        if (verdict := rule.decide(facts)) is not None:
            return Decision(stage, rule, verdict, facts)
    return Decision(stage, None, ACCEPT, facts)
