"""The handler that answers a conversation from a policy, and queues what was accepted."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, TypeVar, cast

from lmtpref.lists.acceptance import DEFAULT_POLICY, Decision, Policy, decide, rules_of
from lmtpref.lists.addresses import Subaddress, fold
from lmtpref.lists.facts import DataFacts, MessageFacts, PeerFacts, RecipientFacts, SenderFacts, Stage
from lmtpref.lists.queues import Entry, Queues
from lmtpref.lists.roster import Addresses, ListDirectory, Lookup, MailingList, Maybe
from lmtpref.lists.trace import trace, utc_now
from lmtpref.protocol.catalogue import LOCAL_ERROR_451
from lmtpref.protocol.handler import Answer, Envelope, Handler, Peer, Recipient
from lmtpref.protocol.replies import Reply

log = logging.getLogger(__name__)
T = TypeVar("T")


class _Place(NamedTuple):
    """Where a message goes: list, sub-address, detail.  Recipients with the same place get one entry between them."""

    list: str | None
    subaddress: Subaddress | None
    detail: str | None


@dataclass(slots=True, eq=False)
class _Delivery:
    """What the recipients of one message share: its trace, and what each place was answered (None: accepted)."""

    trace: bytes = b""
    answers: dict[_Place, Reply | None] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class _Judged:
    """What is remembered of a recipient between RCPT and the end of data."""

    facts: RecipientFacts
    decision: Decision
    place: _Place
    delivery: _Delivery


class ListHandler(Handler):
    """Answers with the verdicts of a policy, and puts what was accepted, held or discarded into its queue.

    `directory`, `queues` and `policy` may be replaced at any time; what was already decided stands.  `clock` returns
    the time for trace lines, with its offset.  A rule, a directory or a queue that raises is a local fault: the
    server answers 451 4.3.0 for that command or that recipient.
    """

    def __init__(
        self,
        directory: ListDirectory,
        queues: Queues,
        *,
        hostname: str = "localhost",
        site_owner: str = "",
        banned_senders: Iterable[str] = (),
        policy: Policy = DEFAULT_POLICY,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.directory = directory
        self.queues = queues
        self.hostname = hostname
        self.site_owner = site_owner
        self.banned_senders = Addresses(banned_senders, key="banned_senders")
        self.policy = policy
        self.clock = clock

    @property
    def policy(self) -> Policy:
        """The rules, in the order in which they are asked at their stages."""
        return self._policy

    @policy.setter
    def policy(self, policy: Policy) -> None:
        self._policy = policy
        self._rules = {stage: rules_of(policy, stage) for stage in Stage}

    def lhlo(self, peer: Peer, name: str) -> Answer:
        """Answer for the sending MTA."""
        return self._decide(Stage.LHLO, PeerFacts(peer, name)).verdict.reply

    def mail(self, envelope: Envelope) -> Answer:
        """Answer for the sender."""
        sender = envelope.reverse_path
        banned = sender is not None and sender.address in self.banned_senders
        refusal = self._decide(Stage.MAIL, SenderFacts(envelope.peer, sender, envelope.declared_octets, banned)).verdict.reply
        return refusal.naming(sender.address) if refusal and sender else refusal

    def rcpt(self, envelope: Envelope, recipient: Recipient) -> Answer:
        """Answer for the recipient, once the directory has."""
        return _then(
            self.directory.look_up(recipient.path, envelope.reverse_path),
            lambda found: self._judge(envelope, recipient, found),
        )

    def data(self, envelope: Envelope) -> Answer:
        """Answer for the recipients together: is there any that may take the message?"""
        recipients = tuple(_judged(recipient).facts for recipient in envelope.recipients)
        return self._decide(Stage.DATA, DataFacts(envelope.peer, envelope.reverse_path, recipients)).verdict.reply

    def message(self, envelope: Envelope) -> None:
        """Write the trace that the recipients share."""
        _judged(envelope.recipients[0]).delivery.trace = trace(envelope, hostname=self.hostname, now=self.clock())

    def deliver(self, envelope: Envelope, recipient: Recipient) -> Answer:
        """Judge the message for this recipient, and queue it.  A recipient repeated hears again what it was first told."""
        judged = _judged(recipient)
        answers, place = judged.delivery.answers, judged.place
        if place in answers:
            return _named(answers[place], recipient)
        answers[place] = LOCAL_ERROR_451  # until it is known better
        if judged.facts.list is None:
            return self._deliver(envelope, recipient, judged, None)
        return _then(
            self.directory.find(judged.facts.list.path),
            lambda current: self._deliver(envelope, recipient, judged, current),
        )

    def _judge(self, envelope: Envelope, recipient: Recipient, found: Lookup) -> Reply | None:
        path = recipient.path
        served = found.served or not path.domain or fold(path.domain) == fold(self.hostname)
        facts = RecipientFacts(envelope.peer, envelope.reverse_path, envelope.declared_octets, path, found, served)
        decision = self._decide(Stage.RCPT, facts)
        place = _Place(found.list.address if found.list else None, found.subaddress, found.detail)
        delivery = _judged(envelope.recipients[0]).delivery if envelope.recipients else _Delivery()
        recipient.tag = _Judged(facts, decision, place, delivery)
        return _named(decision.verdict.reply, recipient)

    def _deliver(self, envelope: Envelope, recipient: Recipient, judged: _Judged, current: MailingList | None) -> Answer:
        decision = self._decide(Stage.END_OF_DATA, MessageFacts(judged.facts, judged.decision.verdict, current, envelope.content))
        answers = judged.delivery.answers
        if refusal := decision.verdict.reply:
            answers[judged.place] = refusal
            return _named(refusal, recipient)

        def accepted(_: object) -> None:
            answers[judged.place] = None

        return _then(self.queues.put(self._entry(envelope, recipient, judged, decision)), accepted)

    def _entry(self, envelope: Envelope, recipient: Recipient, judged: _Judged, decision: Decision) -> Entry:
        place = judged.place
        return Entry(
            content=envelope.content,
            trace=judged.delivery.trace,
            reverse_path=envelope.reverse_path.given if envelope.reverse_path else "",
            forward_path=recipient.path.given,
            parameters=envelope.parameters,
            origin=envelope.origin,
            list=place.list,
            subaddress=place.subaddress,
            detail=place.detail,
            verdict=decision.verdict,
            trail=(judged.decision, decision),
            site_owner=self.site_owner,
        )

    def _decide(self, stage: Stage, facts: object) -> Decision:
        decision = decide(stage, self._rules[stage], facts)
        if decision.rule and log.isEnabledFor(logging.INFO):
            log.info("%s", decision)
        return decision


def _named(reply: Reply | None, recipient: Recipient) -> Reply | None:
    return reply.naming(recipient.path.address) if reply else None


def _judged(recipient: Recipient) -> _Judged:
    return cast(_Judged, recipient.tag)


def _then(value: Maybe[T], use: Callable[[T], Answer]) -> Answer:
    """What `use` makes of `value`: at once if the value is here, else when it comes."""
    return _later(cast(Awaitable[T], value), use) if isinstance(value, Awaitable) else use(value)


async def _later(value: Awaitable[T], use: Callable[[T], Answer]) -> Reply | None:
    answer = use(await value)
    return await answer if isinstance(answer, Awaitable) else answer
