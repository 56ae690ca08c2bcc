"""The forecast of what Mailman's own posting chain will do with a message, without doing it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from enum import StrEnum
from typing import Any, NamedTuple

import zope.event
from mailman.config import config
from mailman.core.i18n import _, format_reasons
from mailman.email.message import Message
from mailman.interfaces.address import ExistingAddressError
from mailman.interfaces.autorespond import ResponseAction
from mailman.interfaces.chain import LinkAction
from mailman.interfaces.listmanager import IListManager
from mailman.interfaces.usermanager import IUserManager
from zope.component import getUtility

# This rule queries the DNS, and could only make the result stricter.
SKIPPED_RULES = frozenset({"dmarc-mitigation"})


class Action(StrEnum):
    """The fate of a post; the values are the names of Mailman's terminal chains."""

    ACCEPT = "accept"
    HOLD = "hold"
    DISCARD = "discard"
    REJECT = "reject"


class Foreseen(NamedTuple):
    """A forecast: the action, the last rule that hit, and the reasons in English."""

    action: Action
    rule: str | None = None
    reasons: tuple[str, ...] = ()


ACCEPTED = Foreseen(Action.ACCEPT)
_TERMINAL = {action.value: action for action in Action}


def foresee(list_id: str, message: Message, data: dict[str, Any]) -> Foreseen | None:
    """Return what Mailman will do with `message`; None if the list is gone.

    Both arguments are changed, as Mailman's rules change them.  The caller rolls the database back.
    """
    mlist = getUtility(IListManager).get_by_list_id(list_id)
    if mlist is None:
        return None
    if mlist.autorespond_postings == ResponseAction.respond_and_discard:
        return Foreseen(Action.DISCARD, "autorespond_postings")
    with _without_events(), _.using(mlist.preferred_language.code):
        for sender in message.senders:
            with contextlib.suppress(ExistingAddressError):
                getUtility(IUserManager).create_address(sender)
        action = _walk(mlist, message, data)
        with _.using("en"):
            reasons = format_reasons(data.get("moderation_reasons", []))
    hits = data["rule_hits"]
    return Foreseen(action, hits[-1] if hits else None, tuple(map(str, reasons)))


def _walk(mlist: Any, message: Message, data: dict[str, Any]) -> Action:  # noqa: ANN401 - Mailman has no types
    """Follow the list's posting chain to a terminal chain, as `mailman.core.chains.process` does, but do not run that one."""
    data["rule_hits"], data["rule_misses"] = [], []
    chain = config.chains[mlist.posting_chain]
    interrupted: list[Iterator[Any]] = []
    while chain.name not in _TERMINAL:
        interrupted.append(iter(chain.get_links(mlist, message, data)))
        link = _next_hit(interrupted, mlist, message, data)
        if link is None or link.action not in (LinkAction.jump, LinkAction.detour):
            # The chain ends here, or runs a function of its own, so only Mailman can determine the result.
            return Action.ACCEPT
        if link.action is LinkAction.jump:
            interrupted.pop()
        chain = link.chain
    return _TERMINAL[chain.name]


def _next_hit(interrupted: list[Iterator[Any]], mlist: Any, message: Message, data: dict[str, Any]) -> Any:  # noqa: ANN401 - as above
    """Return the next link whose rule hits and that does more than defer; None if every chain is exhausted."""
    while interrupted:
        for link in interrupted[-1]:
            rule = link.rule
            hit = rule.name not in SKIPPED_RULES and rule.check(mlist, message, data)
            if rule.record:
                data["rule_hits" if hit else "rule_misses"].append(rule.name)
            if hit and link.action is not LinkAction.defer:
                return link
        interrupted.pop()
    return None


@contextlib.contextmanager
def _without_events() -> Iterator[None]:
    """Hide the rules' events, such as new nonmembers, from all subscribers; nothing else in this process causes events."""
    subscribers = zope.event.subscribers[:]
    zope.event.subscribers.clear()
    try:
        yield
    finally:
        zope.event.subscribers[:] = subscribers
