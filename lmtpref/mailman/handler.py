"""The handler that queries Mailman's database and rules, and writes into Mailman's queues."""

from __future__ import annotations

import logging
import os
import signal
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mailman.email.message import Message
from mailman.utilities.datetime import now
from sqlalchemy.exc import SQLAlchemyError

from lmtpref.lists.mailinglist import DirectoryError, ListDirectory
from lmtpref.lists.policy.verdicts import Discard
from lmtpref.lists.queues.interface import reply_to
from lmtpref.lists.queues.outage import Failures, in_words
from lmtpref.mailman.bounded import BoundedCalls
from lmtpref.mailman.envelope import judge_envelope
from lmtpref.mailman.foresee import Foreseen
from lmtpref.mailman.judging import Judges
from lmtpref.mailman.messages import enqueue, metadata, parse
from lmtpref.mailman.recipients import ListRecipient, find_recipient
from lmtpref.mailman.settings import RunnerSettings
from lmtpref.mailman.verdict import judge, reply_to_post
from lmtpref.protocol.catalogue import (
    ASCII_SENDERS_550,
    DEFECTIVE_554,
    DIRECTORY_451,
    LOCAL_ERROR_451,
    RULES_REJECT_550,
    UNKNOWN_LIST_550,
    UNKNOWN_MTA_550,
)
from lmtpref.protocol.handler import Envelope, Handler, Peer, Recipient
from lmtpref.protocol.replies import Reply

log = logging.getLogger(__name__)

LOOKUP_THREADS = 4
JUDGES = 2

Posts = Judges[[str, bytes, str, dict[str, Any]], Foreseen | None]
QUEUE_THREADS = 4


@dataclass(slots=True, eq=False)
class PostDelivery:
    """The state that the recipients of one message share: the parsed message, its arrival time, and the final reply for each address."""

    message: Message
    received: datetime = field(default_factory=now)
    replies: dict[str, Reply | None] = field(default_factory=dict)


class MailmanHandler(Handler):
    """A handler that accepts mail for Mailman's lists.

    With a `directory`, it judges posts at RCPT by the envelope sender; else it judges at the end of data, by Mailman's own rules.
    Every call into Mailman runs in a thread with a time limit; an error there is logged, and the reply is 4xx.
    """

    def __init__(self, settings: RunnerSettings, directory: ListDirectory | None = None) -> None:
        self._settings = settings
        self._directory = directory
        self._lookups = BoundedCalls(LOOKUP_THREADS, settings.lookup_seconds)
        # Mailman keeps rules in tables that all threads share, so each process judges one message at a time.
        self._judges = None if directory else Judges(JUDGES, settings.lookup_seconds, judge, on_loss=_ask_for_restart)
        self._queueing = BoundedCalls(QUEUE_THREADS, settings.lookup_seconds)
        self._failures = Failures()

    def lhlo(self, peer: Peer, name: str) -> Reply | None:  # noqa: ARG002 - what it calls itself proves nothing
        """Reject an MTA that is not in `known_mtas`, unless its certificate may still make it known."""
        return None if peer.known or peer.may_become_known else UNKNOWN_MTA_550

    def mail(self, envelope: Envelope) -> Reply | None:
        """Reject SMTPUTF8, which Mailman cannot forward."""
        return ASCII_SENDERS_550 if envelope.smtputf8 else None

    async def rcpt(self, envelope: Envelope, recipient: Recipient) -> Reply | None:
        """Look up the recipient, and judge the sender if the envelope decides."""
        if self._directory:
            verdict = await judge_envelope(self._directory, self._settings.lookup_seconds, envelope, recipient)
            discarded = isinstance(verdict, Discard) and self._settings.discard == "reject"
            reply = RULES_REJECT_550 if discarded else verdict.reply
        else:
            found = await self._find(recipient)
            reply = found if isinstance(found, Reply) else None
        return reply.naming(recipient.path.address) if reply else None

    async def message(self, envelope: Envelope) -> Reply | None:
        """Parse the message."""
        message = await self._queueing.run(parse, envelope.content, sender_of(envelope))
        envelope.state = PostDelivery(message)
        return DEFECTIVE_554 if message.defects else None

    async def deliver(self, envelope: Envelope, recipient: Recipient) -> Reply | None:
        """Judge the message for this recipient and queue it; a repeated recipient gets the first reply again."""
        delivery: PostDelivery = envelope.state
        address = recipient.path.address.lower()
        if address not in delivery.replies:
            delivery.replies[address] = LOCAL_ERROR_451
            delivery.replies[address] = await self._deliver(envelope, recipient, delivery)
        reply = delivery.replies[address]
        return reply.naming(recipient.path.address) if reply else None

    async def _find(self, recipient: Recipient) -> ListRecipient | Reply:
        """Return the current meaning of the recipient, or the reply that rejects it."""
        try:
            return await self._lookups.run(find_recipient, recipient.path.address) or UNKNOWN_LIST_550
        except (SQLAlchemyError, OSError) as error:
            log.error("cannot look up %s: %s", recipient.path.address, in_words(error))  # noqa: TRY400 - one line
            return DIRECTORY_451

    async def _deliver(self, envelope: Envelope, recipient: Recipient, delivery: PostDelivery) -> Reply | None:
        target = await self._find(recipient)
        if isinstance(target, Reply):
            return target
        data = metadata(target, len(envelope.content), delivery.received)
        if target.subaddress is None and self._judges and (reply := await self._judge(self._judges, envelope, target, data)):
            return reply
        try:
            await self._queueing.run(enqueue, delivery.message, data)
        except OSError as error:
            self._failures.note(error, target.list_address, target.list_address)
            return reply_to(error)
        self._failures.note(None, target.list_address, target.list_address)
        return None

    async def _judge(self, judges: Posts, envelope: Envelope, target: ListRecipient, data: dict[str, Any]) -> Reply | None:
        """Return the reply that rejects a post; None to accept it."""
        try:
            foreseen = await judges.ask(target.list_id, envelope.content, sender_of(envelope), dict(data))
        except (DirectoryError, TimeoutError) as error:
            log.error("cannot judge a post to %s: %s", target.list_address, in_words(error))  # noqa: TRY400 - one line
            return DIRECTORY_451
        if foreseen and foreseen.failure:
            log.error("Mailman's rules fail on a post to %s:\n%s", target.list_address, foreseen.failure)
        return reply_to_post(foreseen, self._settings.discard)


def sender_of(envelope: Envelope) -> str:
    """Return the address of the envelope sender; empty for the null sender."""
    return envelope.reverse_path.address if envelope.reverse_path else ""


def _ask_for_restart() -> None:
    """Send this process SIGUSR1, after which Mailman's master starts it again."""
    os.kill(os.getpid(), signal.SIGUSR1)
