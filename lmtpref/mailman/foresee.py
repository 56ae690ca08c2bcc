"""A forecast of what Mailman's posting chain would do with a message."""

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

from lmtpref.lists.forecast import ForecastRule

# This rule queries the DNS, and could only make the result stricter.
SKIPPED_RULES = frozenset({"dmarc-mitigation"})


class Action(StrEnum):
    """The fate of a post; the values are the names of Mailman's terminal chains."""

    ACCEPT = "accept"
    HOLD = "hold"
    DISCARD = "discard"
    REJECT = "reject"


class Foreseen(NamedTuple):
    """A forecast: the action, the last rule that hit, the reasons in English, and the rules that were asked, in order.

    `failure` is the end of the traceback of a rule that raised an exception.
    """

    action: Action
    rule: str | None = None
    reasons: tuple[str, ...] = ()
    asked: tuple[ForecastRule, ...] = ()
    failure: str = ""


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
        walk = _Walk(mlist, message, data)
        action = walk.follow(config.chains[mlist.posting_chain])
        with _.using("en"):
            reasons = format_reasons(data.get("moderation_reasons", []))
    hits = [asked.rule for asked in walk.asked if asked.hit]
    return Foreseen(action, hits[-1] if hits else None, tuple(map(str, reasons)), tuple(walk.asked))


class _Walk:
    """A walk through the list's posting chain, as `mailman.core.chains.process` does it; `asked` is as in `Foreseen`."""

    def __init__(self, mlist: Any, message: Message, data: dict[str, Any]) -> None:  # noqa: ANN401 - Mailman has no types
        self._post = mlist, message, data
        self._hits: list[str] = []
        self._misses: list[str] = []
        data |= {"rule_hits": self._hits, "rule_misses": self._misses}
        self._interrupted: list[tuple[str, Iterator[Any]]] = []
        self.asked: list[ForecastRule] = []

    def follow(self, chain: Any) -> Action:  # noqa: ANN401 - as above
        """Follow `chain` to a terminal chain, but do not run that one; return its action."""
        while chain.name not in _TERMINAL:
            self._interrupted.append((chain.name, iter(chain.get_links(*self._post))))
            link = self._next_hit()
            if link is None or link.action not in (LinkAction.jump, LinkAction.detour):
                # The chain ends here, or runs a function of its own, so only Mailman can determine the result.
                return Action.ACCEPT
            if link.action is LinkAction.jump:
                self._interrupted.pop()
            chain = link.chain
        return _TERMINAL[chain.name]

    def _next_hit(self) -> Any:  # noqa: ANN401 - as above
        """Return the next link whose rule hits and that does more than defer; None if every chain is exhausted."""
        while self._interrupted:
            chain, links = self._interrupted[-1]
            for link in links:
                if self._ask(chain, link.rule) and link.action is not LinkAction.defer:
                    return link
            self._interrupted.pop()
        return None

    def _ask(self, chain: str, rule: Any) -> bool:  # noqa: ANN401 - as above
        hit = rule.name not in SKIPPED_RULES and bool(rule.check(*self._post))
        if rule.record:
            (self._hits if hit else self._misses).append(rule.name)
            self.asked.append(ForecastRule(chain, rule.name, hit))
        return hit


@contextlib.contextmanager
def _without_events() -> Iterator[None]:
    """Hide the rules' events, such as new nonmembers, from all subscribers; nothing else in this process causes events."""
    subscribers = zope.event.subscribers[:]
    zope.event.subscribers.clear()
    try:
        yield
    finally:
        zope.event.subscribers[:] = subscribers
