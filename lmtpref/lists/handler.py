"""The handler that answers a conversation by a policy and queues the accepted messages."""

from __future__ import annotations

import asyncio
import logging
import operator
from collections.abc import Awaitable, Callable, Collection, Iterable
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Literal

from lmtpref.lists.delivery_state import DeliveryTarget, MessageDelivery, RecipientDecision
from lmtpref.lists.directory.bounded import NO_ANSWER, ask
from lmtpref.lists.early_answers import answer_after, begin_early
from lmtpref.lists.mailinglist import Judge, ListDirectory, Lookup, MailingList
from lmtpref.lists.persons import NOBODY, Persons
from lmtpref.lists.policy.authentication import parse_trust
from lmtpref.lists.policy.default import DEFAULT_POLICY, Decision, Policy, best, decide, rules_of
from lmtpref.lists.policy.facts import DataFacts, Facts, MessageFacts, PeerFacts, RecipientFacts, SenderFacts, Stage
from lmtpref.lists.policy.header import Header
from lmtpref.lists.policy.rules import header_decides
from lmtpref.lists.policy.verdicts import Verdict
from lmtpref.lists.queues.interface import EntrySink, is_outage, reply_to
from lmtpref.lists.queues.memory import Entry
from lmtpref.lists.senders import Normaliser, banned_everywhere
from lmtpref.lists.trace import trace, utc_now
from lmtpref.protocol.catalogue import LOCAL_ERROR_451
from lmtpref.protocol.domains import a_labels
from lmtpref.protocol.errors import ConfigurationError
from lmtpref.protocol.handler import Answer, Envelope, Handler, Peer, Recipient
from lmtpref.protocol.maybe import Maybe, resolve, waits
from lmtpref.protocol.replies import Reply
from lmtpref.protocol.syntax import Path

# The recipients of a message that are started before other connections get their turn.
RECIPIENTS_A_TURN = 16
DIRECTORY_SECONDS = 10.0  # for each answer; Exim's callout gives 30 to the whole conversation

log = logging.getLogger(__name__)


class ListHandler(Handler):
    """A handler that answers with the verdicts of a policy and queues accepted, held and discarded messages.

    `directory`, `queues` and `policy` may be replaced at any time; earlier decisions stand.  `banned_senders` takes
    addresses, domains and ^patterns.  `reject_banned_at` is "mail" or "rcpt"; with "rcpt", banned senders can still write
    to postmaster.  `normalise` and `subaddresses` say which spellings of them are banned too, as for a list.
    `trusted_authserv_id` and `trusted_arc_sealers` hold for lists without their own.  The directory has
    `directory_seconds` for each answer.  `clock` returns the time for trace lines, with its offset from UTC.  An
    exception in a rule, the directory or a queue is a local error: it is logged, and the reply is 4xx.

    Raises ConfigurationError: if a banned sender is not an address, a domain or a pattern, or if what is trusted is invalid.
    """

    def __init__(
        self,
        directory: ListDirectory,
        queues: EntrySink,
        *,
        hostname: str = "localhost",
        site_owner: str = "",
        banned_senders: Iterable[str] = (),
        reject_banned_at: Literal["mail", "rcpt"] = "mail",
        normalise: Collection[Literal["batv"]] = (),
        subaddresses: bool = False,
        trusted_authserv_id: str | None = None,
        trusted_arc_sealers: Collection[str] = (),
        directory_seconds: float = DIRECTORY_SECONDS,
        policy: Policy = DEFAULT_POLICY,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.directory = directory
        self.queues = queues
        self.hostname = hostname
        self.site_owner = site_owner
        self.banned_senders = banned_everywhere(banned_senders, Normaliser.parse(normalise, subaddresses=subaddresses))
        if reject_banned_at not in {"mail", "rcpt"}:
            raise ConfigurationError(f"one of mail, rcpt; not {reject_banned_at!r}", key="reject_banned_at")
        self.reject_banned_at = reject_banned_at
        self.trust = parse_trust(trusted_authserv_id, trusted_arc_sealers)
        self.directory_seconds = directory_seconds
        self.policy = policy
        self.clock = clock
        # Called with each decision and with the facts that the rules had.
        self.on_decision: Callable[[Decision, Facts], None] | None = None
        self._warned = False

    @property
    def policy(self) -> Policy:
        """The rules; at each stage they are asked in this order."""
        return self._policy

    @policy.setter
    def policy(self, policy: Policy) -> None:
        self._policy = policy
        self._rules = {stage: rules_of(policy, stage) for stage in Stage}

    def warn_of_forgeries(self, mailing_list: MailingList) -> None:
        """Warn, once in the life of this handler, that the list lets any sender post that writes a member's address into the header."""
        if not (self._warned or mailing_list.trust or self.trust) and mailing_list.judge == Judge.ENVELOPE_OR_FROM:
            self._warned = True
            log.warning("%s believes the header of any message, because there is no trusted_authserv_id", mailing_list.address)

    def connect(self, peer: Peer) -> Answer:
        """Decide about the connection; the greeting is 220, 421 or 554, without an enhanced code (RFC 2034 section 4)."""
        reply = self._decide(Stage.CONNECT, PeerFacts(peer, "")).verdict.reply
        return reply and Reply(554 if reply.code >= 500 else 421, None, *reply.lines)

    def lhlo(self, peer: Peer, name: str) -> Answer:
        """Decide about the sending MTA."""
        return self._decide(Stage.LHLO, PeerFacts(peer, name)).verdict.reply

    def mail(self, envelope: Envelope) -> Answer:
        """Decide about the sender."""
        sender = envelope.reverse_path
        banned = self.reject_banned_at == "mail" and self._is_banned(sender, NOBODY)
        refusal = self._decide(Stage.MAIL, SenderFacts(envelope.peer, sender, envelope.declared_octets, banned)).verdict.reply
        return refusal.naming(sender.address) if refusal and sender else refusal

    def rcpt(self, envelope: Envelope, recipient: Recipient) -> Answer:
        """Decide about the recipient after the directory has answered."""
        found = ask(self.directory_seconds, self.directory.look_up, recipient.path, envelope.reverse_path)
        if isinstance(found, Lookup):
            return self._judge(envelope, recipient, found)
        return self._judge_later(envelope, recipient, found)

    def data(self, envelope: Envelope) -> Answer:
        """Decide whether any recipient may still accept the message."""
        recipients = tuple([recipient.state.facts for recipient in envelope.recipients])
        return self._decide(Stage.DATA, DataFacts(envelope.peer, envelope.reverse_path, recipients)).verdict.reply

    def message(self, envelope: Envelope) -> None:
        """Prepare the trace and the header that the recipients share."""
        line = trace(envelope, hostname=self.hostname, now=self.clock())
        envelope.state = MessageDelivery(line, Header(envelope.content), iter(envelope.recipients))

    def deliver(self, envelope: Envelope, recipient: Recipient) -> Answer:
        """Decide about the message for this recipient and queue it.  A repeated recipient gets the first reply again."""
        delivery: MessageDelivery = envelope.state
        target = recipient.state.target
        if begun := delivery.ahead.pop(target, None):
            return begun
        if target in delivery.answers:
            return _named(delivery.answers[target], recipient)
        return self._begin(envelope, recipient)

    def reset(self, envelope: Envelope) -> None:
        """Cancel deliveries whose reply will never be sent."""
        delivery: MessageDelivery | None = envelope.state
        if delivery is not None:
            delivery.rest = iter(())
            for begun in delivery.ahead.values():
                if not begun.cancel() and not begun.cancelled():
                    # Retrieve the exception, or asyncio would report it.
                    begun.exception()

    def _begin(self, envelope: Envelope, recipient: Recipient) -> Answer:
        decided: RecipientDecision = recipient.state
        # This answer stands if the delivery raises an exception.
        envelope.state.answers[decided.target] = LOCAL_ERROR_451
        current = decided.facts.list and ask(self.directory_seconds, self.directory.find, decided.facts.list.path)
        if waits(current) or decided.decision.rule is header_decides:
            return self._deliver_later(envelope, recipient, current)
        return self._deliver(envelope, recipient, current)

    # RCPT -------------------------------------------------------------------------------------------------------

    async def _judge_later(self, envelope: Envelope, recipient: Recipient, found: Awaitable[Lookup]) -> Reply | None:
        return self._judge(envelope, recipient, await found)

    def _judge(self, envelope: Envelope, recipient: Recipient, found: Lookup) -> Reply | None:
        path = recipient.path
        served = found.served or not path.domain or a_labels(path.domain) == a_labels(self.hostname)
        banned = (self.reject_banned_at == "rcpt" or len(found.persons) > 0) and self._is_banned(envelope.reverse_path, found.persons)
        facts = RecipientFacts(
            envelope.peer, envelope.reverse_path, envelope.declared_octets, path, found, served, banned_everywhere=banned
        )
        decision = self._decide(Stage.RCPT, facts)
        target = DeliveryTarget(found.list.address if found.list else None, found.subaddress, found.detail)
        recipient.state = RecipientDecision(facts, decision, target)
        return _named(decision.verdict.reply, recipient)

    def _is_banned(self, sender: Path | None, persons: Persons) -> bool:
        """Return whether `sender`, or another address of the same person, is banned from all lists."""
        if sender is None:
            return False
        normaliser = self.banned_senders.addresses.normaliser
        return any(map(self.banned_senders.matches, persons.addresses_of(sender.address, normaliser)))

    # The end of data --------------------------------------------------------------------------------------------

    async def _deliver_later(self, envelope: Envelope, recipient: Recipient, found: Maybe[MailingList | Lookup | None]) -> Reply | None:
        decided: RecipientDecision = recipient.state
        current = await resolve(found)
        by_header = await self._by_header(envelope, recipient) if decided.decision.rule is header_decides else None
        return await resolve(self._deliver(envelope, recipient, current, by_header))

    async def _by_header(self, envelope: Envelope, recipient: Recipient) -> Verdict:
        """Apply the RCPT rules to the envelope sender and to each header sender; return the most favourable verdict."""
        decided: RecipientDecision = recipient.state
        facts = decided.facts._replace(in_header=True)
        if facts.list:
            self.warn_of_forgeries(facts.list)
        verdicts = [self._decide(Stage.RCPT, facts).verdict]
        for sender in envelope.state.header_senders(facts.list, self.trust):
            found = await resolve(ask(self.directory_seconds, self.directory.look_up, recipient.path, sender))
            banned = self._is_banned(sender, found.persons)
            verdicts.append(self._decide(Stage.RCPT, facts._replace(sender=sender, found=found, banned_everywhere=banned)).verdict)
        return best(verdicts)

    def _deliver(
        self, envelope: Envelope, recipient: Recipient, current: MailingList | Lookup | None, by_header: Verdict | None = None
    ) -> Answer:
        delivery: MessageDelivery = envelope.state
        decided: RecipientDecision = recipient.state
        facts, earlier, target = decided
        down = current is NO_ANSWER
        now = None if isinstance(current, Lookup) else current
        author = delivery.author(facts.list, self.trust) if by_header else None
        decision = self._decide(
            Stage.END_OF_DATA, MessageFacts(facts, earlier.verdict, now, envelope.content, delivery.header, down, by_header, author)
        )
        if refusal := decision.verdict.reply:
            delivery.answers[target] = refusal
            return _named(refusal, recipient)
        try:
            kept = self.queues.put(self._entry(envelope, recipient, decision))
        except OSError as error:
            return self._not_kept(envelope, recipient, error)
        if kept is None:
            delivery.answers[target] = None
            return None
        if isinstance(kept, asyncio.Future):
            self._begin_rest(envelope, delivery)
        return answer_after(kept, partial(self._answer_for, envelope, recipient))

    def _begin_rest(self, envelope: Envelope, delivery: MessageDelivery) -> None:
        """Start the other recipients while an entry is in flight, so that one sync can serve several entries."""
        if not delivery.begins_rest:
            delivery.begins_rest = True
            asyncio.get_running_loop().call_soon(self._begin_some, envelope, delivery)

    def _begin_some(self, envelope: Envelope, delivery: MessageDelivery) -> None:
        """Start the next recipients before their turn, and continue when other connections have had their turn."""
        for recipient in islice(delivery.rest, RECIPIENTS_A_TURN):
            target = recipient.state.target
            if target not in delivery.answers and (begun := begin_early(self._begin, envelope, recipient)):
                delivery.ahead[target] = begun
        if operator.length_hint(delivery.rest):
            asyncio.get_running_loop().call_soon(self._begin_some, envelope, delivery)

    def _answer_for(self, envelope: Envelope, recipient: Recipient, kept: asyncio.Future[None]) -> Reply | None:
        try:
            kept.result()
        except OSError as error:
            return self._not_kept(envelope, recipient, error)
        envelope.state.answers[recipient.state.target] = None
        return None

    def _not_kept(self, envelope: Envelope, recipient: Recipient, error: OSError) -> Reply | None:
        # The queue itself logs an outage, once for all messages.
        if not is_outage(error):
            log.error("not kept for %s: %s", recipient.path.address, error)
        envelope.state.answers[recipient.state.target] = reply = reply_to(error)
        return _named(reply, recipient)

    def _entry(self, envelope: Envelope, recipient: Recipient, decision: Decision) -> Entry:
        decided: RecipientDecision = recipient.state
        target = decided.target
        return Entry(
            content=envelope.content,
            trace=envelope.state.trace,
            reverse_path=envelope.reverse_path.given if envelope.reverse_path else "",
            forward_path=recipient.path.given,
            parameters=envelope.parameters,
            origin=envelope.origin,
            list=target.list,
            subaddress=target.subaddress,
            detail=target.detail,
            verdict=decision.verdict,
            trail=(decided.decision, decision),
            site_owner=self.site_owner,
        )

    def _decide(self, stage: Stage, facts: Facts) -> Decision:
        decision = decide(stage, self._rules[stage], facts)
        if self.on_decision is not None:
            self.on_decision(decision, facts)
        if decision.rule and log.isEnabledFor(logging.INFO):
            log.info("%s", decision)
        return decision


def _named(reply: Reply | None, recipient: Recipient) -> Reply | None:
    return reply.naming(recipient.path.address) if reply else None
