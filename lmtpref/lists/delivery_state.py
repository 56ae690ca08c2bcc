"""What a handler remembers of a message's recipients from RCPT until each has its last reply."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, cast

from lmtpref.lists.addresses import Subaddress
from lmtpref.lists.policy.default import Decision
from lmtpref.lists.policy.facts import RecipientFacts
from lmtpref.lists.policy.header import Header
from lmtpref.protocol.handler import Recipient
from lmtpref.protocol.replies import Reply

NO_HEADER = Header(b"")


class Place(NamedTuple):
    """Where a message goes: list, sub-address, detail.  Recipients with the same place get one entry between them."""

    list: str | None
    subaddress: Subaddress | None
    detail: str | None


@dataclass(slots=True, eq=False)
class Delivery:
    """What the recipients of one message share: its trace, its header, and what each place was answered (None: accepted).

    `ahead` are those who were begun before their turn, `rest` those who may still be.
    """

    trace: bytes = b""
    header: Header = NO_HEADER
    answers: dict[Place, Reply | None] = field(default_factory=dict)
    ahead: dict[Place, asyncio.Task[Reply | None]] = field(default_factory=dict)
    rest: Iterator[Recipient] = field(default_factory=lambda: iter(()))


class Judged(NamedTuple):
    """What is remembered of a recipient between RCPT and the end of data."""

    facts: RecipientFacts
    decision: Decision
    place: Place
    delivery: Delivery


def judged_of(recipient: Recipient) -> Judged:
    """What was decided about `recipient` at RCPT."""
    return cast(Judged, recipient.tag)
