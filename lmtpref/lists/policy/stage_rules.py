"""The rules of one stage, without those that cannot have a verdict on a given list's posts."""

from __future__ import annotations

import logging
from typing import Any

from lmtpref.lists.mailinglist import Lookup, MailingList, Standing
from lmtpref.lists.policy.default import Policy, rules_of
from lmtpref.lists.policy.facts import Stage
from lmtpref.lists.policy.rules import Rule

# A list keeps the rules for each standing that its senders have, and for each handler that serves it.
MAX_KEPT = 256

log = logging.getLogger(__name__)


class StageRules:
    """The rules of a policy at one stage, in their order; the same for all lists."""

    __slots__ = ("rules", "stage")

    def __init__(self, policy: Policy, stage: Stage) -> None:
        self.stage = stage
        self.rules = rules_of(policy, stage)

    def about(self, found: Lookup) -> Policy:
        """Return the rules that can have a verdict on mail for the recipient `found`; all rules unless it is a post.

        The list keeps the answer for each standing, because it is immutable, so each rule's `needs` is called once.
        """
        if found.list is None or found.subaddress is not None or found.down:
            return self.rules
        rules = found.list.stage_rules.get((self, found.standing))
        return self._select(found.list, found.standing) if rules is None else rules

    def _select(self, mailing_list: MailingList, standing: Standing) -> Policy:
        rules = tuple(rule for rule in self.rules if _is_needed(rule, mailing_list, standing))
        if len(mailing_list.stage_rules) >= MAX_KEPT:
            mailing_list.stage_rules.clear()
        mailing_list.stage_rules[self, standing] = rules
        return rules


def _is_needed(rule: Rule[Any], mailing_list: MailingList, standing: Standing) -> bool:
    """Return whether `rule` is to be asked; a rule whose `needs` raises an exception is."""
    if rule.needs is None:
        return True
    try:
        return bool(rule.needs(mailing_list, standing))
    except Exception:
        log.exception("`needs` of the rule %s failed, so the rule always runs", rule.name)
        return True
