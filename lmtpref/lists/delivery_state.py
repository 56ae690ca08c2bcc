"""What a list handler remembers: a part for each recipient, created at RCPT, and one for the message, created at the end of data."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from lmtpref.lists.addresses import Subaddress, fold_address
from lmtpref.lists.mailinglist import Lookup, MailingList
from lmtpref.lists.policy.authentication import Author, Trust, author_of
from lmtpref.lists.policy.default import Decision
from lmtpref.lists.policy.facts import RecipientFacts
from lmtpref.lists.policy.header import Header
from lmtpref.protocol.handler import Recipient
from lmtpref.protocol.replies import Reply
from lmtpref.protocol.syntax import Path

# Called directly, it creates a named tuple without a call of a Python function.
_new = tuple.__new__


class DeliveryTarget(NamedTuple):
    """The destination of a message.  Recipients with the same target share one entry.

    It is a list with a sub-address and a detail, or the mailbox of a recipient without a list, such as postmaster.
    """

    list: str | None
    subaddress: Subaddress | None = None
    detail: str | None = None
    mailbox: str | None = None


def target_of(found: Lookup, path: Path, hostname: str) -> DeliveryTarget:
    """Return the target of the recipient `path`, which the directory `found`; a path without a domain is at `hostname`."""
    if found.list is None:
        return DeliveryTarget(None, mailbox=fold_address(path.address if path.domain else f"{path.address}@{hostname}"))
    return _new(DeliveryTarget, (found.list.address, found.subaddress, found.detail, None))


class RecipientDecision(NamedTuple):
    """`recipient.state`: what RCPT decided about it, and from which facts."""

    facts: RecipientFacts
    decision: Decision
    target: DeliveryTarget


@dataclass(slots=True, eq=False)
class MessageDelivery:
    """`envelope.state` from the end of data on: what the recipients share.

    `rest` holds the recipients that may be started before their turn, and `ahead` the deliveries that were; `begins_rest` says
    that they are being started.
    `answers` has the answer for each target that is finished; None says accepted.  `authors` has the author by each MTA
    that a list trusts.
    """

    trace: bytes
    header: Header
    rest: Iterator[Recipient]
    ahead: dict[DeliveryTarget, asyncio.Future[Reply | None]] = field(default_factory=dict)
    answers: dict[DeliveryTarget, Reply | None] = field(default_factory=dict)
    authors: dict[Trust, Author] = field(default_factory=dict)
    begins_rest: bool = False

    def author(self, mailing_list: MailingList | None, server_trust: Trust | None) -> Author | None:
        """Return the author by the MTA that the list or the server trusts; None if neither trusts one."""
        trust = (mailing_list.trust if mailing_list else None) or server_trust
        if trust is None:
            return None
        return self.authors.get(trust) or self.authors.setdefault(trust, author_of(self.header, trust))

    def header_senders(self, mailing_list: MailingList | None, server_trust: Trust | None) -> tuple[Path, ...]:
        """Return the header senders that count: the authenticated author, or all of them if no MTA is trusted."""
        author = self.author(mailing_list, server_trust)
        if author is None:
            return self.header.senders
        return (author.path,) if author.path else ()
