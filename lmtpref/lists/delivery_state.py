"""The state of a list handler for each recipient, from RCPT until the final reply."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, cast

from lmtpref.lists.addresses import Subaddress
from lmtpref.lists.policy.authentication import Author, Trust, author_of
from lmtpref.lists.policy.default import Decision
from lmtpref.lists.policy.facts import RecipientFacts
from lmtpref.lists.policy.header import Header
from lmtpref.protocol.handler import Recipient
from lmtpref.protocol.replies import Reply
from lmtpref.protocol.syntax import Path

NO_HEADER = Header(b"")


class DeliveryTarget(NamedTuple):
    """The destination of a message: list, sub-address, detail.  Recipients with the same target share one entry."""

    list: str | None
    subaddress: Subaddress | None
    detail: str | None


@dataclass(slots=True, eq=False)
class MessageDelivery:
    """The state that the recipients of one message share: its trace, its header, and the answer for each target (None: accepted).

    `authors` holds the author by each MTA that a list trusts.  `ahead` holds the deliveries that were started before their
    turn, `rest` the recipients that may still be started.
    """

    trace: bytes = b""
    header: Header = NO_HEADER
    authors: dict[Trust, Author] = field(default_factory=dict)
    answers: dict[DeliveryTarget, Reply | None] = field(default_factory=dict)
    ahead: dict[DeliveryTarget, asyncio.Task[Reply | None]] = field(default_factory=dict)
    rest: Iterator[Recipient] = field(default_factory=lambda: iter(()))


class RecipientDecision(NamedTuple):
    """The state of one recipient between RCPT and the end of data."""

    facts: RecipientFacts
    decision: Decision
    target: DeliveryTarget
    delivery: MessageDelivery

    def author(self, server_trust: Trust | None) -> Author | None:
        """Return the author by the MTA that the list or the server trusts; None if neither trusts one."""
        trust = (self.facts.list.trust if self.facts.list else None) or server_trust
        if trust is None:
            return None
        authors = self.delivery.authors
        return authors.get(trust) or authors.setdefault(trust, author_of(self.delivery.header, trust))

    def header_senders(self, server_trust: Trust | None) -> tuple[Path, ...]:
        """Return the header senders that count: the authenticated author, or all of them if no MTA is trusted."""
        author = self.author(server_trust)
        if author is None:
            return self.delivery.header.senders
        return (author.path,) if author.path else ()


def decision_of(recipient: Recipient) -> RecipientDecision:
    """Return the state that RCPT stored for `recipient`."""
    return cast(RecipientDecision, recipient.tag)
