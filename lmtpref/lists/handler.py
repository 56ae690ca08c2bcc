"""The handler that answers a conversation by a policy and queues the accepted messages."""

from __future__ import annotations

import asyncio
import logging
import operator
from collections.abc import Awaitable, Callable, Collection, Iterable
from datetime import datetime
from functools import lru_cache, partial
from itertools import islice
from typing import Literal

from lmtpref.lists.delivery_state import DeliveryTarget, MessageDelivery, RecipientDecision, target_of
from lmtpref.lists.directory.bounded import ANSWERS, NO_ANSWER, ask
from lmtpref.lists.early_answers import answer_after, begin_early
from lmtpref.lists.mailinglist import Judge, ListDirectory, Lookup, MailingList
from lmtpref.lists.persons import NOBODY, Persons
from lmtpref.lists.policy.authentication import parse_trust
from lmtpref.lists.policy.default import DEFAULT_POLICY, Decision, Policy, best, decide
from lmtpref.lists.policy.facts import DataFacts, Facts, MessageFacts, PeerFacts, RecipientFacts, SenderFacts, Stage
from lmtpref.lists.policy.header import Header
from lmtpref.lists.policy.rules import header_decides
from lmtpref.lists.policy.stage_rules import StageRules
from lmtpref.lists.policy.verdicts import Verdict
from lmtpref.lists.queues.interface import EntrySink, is_outage, reply_to
from lmtpref.lists.queues.memory import Entry
from lmtpref.lists.queues.outage import Failures
from lmtpref.lists.senders import Normaliser, banned_everywhere
from lmtpref.lists.trace import trace, utc_now
from lmtpref.protocol.catalogue import LOCAL_ERROR_451
from lmtpref.protocol.domains import a_labels
from lmtpref.protocol.errors import ConfigurationError
from lmtpref.protocol.handler import Answer, Envelope, Handler, Peer, Recipient
from lmtpref.protocol.maybe import Maybe, resolve
from lmtpref.protocol.replies import Reply
from lmtpref.protocol.syntax import Path

# The recipients of a message that are started before other connections get their turn.
RECIPIENTS_A_TURN = 16
DIRECTORY_SECONDS = 10.0  # for each answer; Exim's call-out waits 30 for each reply

log = logging.getLogger(__name__)
# Called directly, it creates a named tuple without a call of a Python function.
_new = tuple.__new__


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
        # The senders are immutable, and the same ones come again.
        self._matches_banned = lru_cache(maxsize=2048)(self.banned_senders.matches)
        self.trust = parse_trust(trusted_authserv_id, trusted_arc_sealers)
        self.directory_seconds = directory_seconds
        self.policy = policy
        self.clock = clock
        # Called with each decision and with the facts that the rules had.
        self.on_decision: Callable[[Decision, Facts], None] | None = None
        self._failures = Failures()
        self._warned = False

    @property
    def policy(self) -> Policy:
        """The rules; at each stage they are asked in this order."""
        return self._policy

    @policy.setter
    def policy(self, policy: Policy) -> None:
        self._policy = policy
        of_stages = [StageRules(policy, stage) for stage in Stage]
        self._at_connect, self._at_lhlo, self._at_mail, self._at_rcpt, self._at_data, self._at_end = of_stages

    def warn_of_forgeries(self, mailing_list: MailingList) -> None:
        """Warn, once for this handler, that any sender may post to the list by writing a member's address into the header."""
        if not (self._warned or mailing_list.trust or self.trust) and mailing_list.judge == Judge.ENVELOPE_OR_FROM:
            self._warned = True
            log.warning("%s trusts the header of any message, because trusted_authserv_id is not set", mailing_list.address)

    def connect(self, peer: Peer) -> Answer:
        """Decide about the connection; the greeting is 220, 421 or 554, without an enhanced code (RFC 2034 section 4)."""
        reply = self._decide(self._at_connect, PeerFacts(peer, "")).verdict.reply
        return reply and Reply(554 if reply.code >= 500 else 421, None, *reply.lines)

    def lhlo(self, peer: Peer, name: str) -> Answer:
        """Decide about the sending MTA."""
        return self._decide(self._at_lhlo, PeerFacts(peer, name)).verdict.reply

    def mail(self, envelope: Envelope) -> Answer:
        """Decide about the sender."""
        if self._says_nothing(self._at_mail):
            return None
        sender = envelope.reverse_path
        octets = envelope.declared_octets if envelope.parameters else None
        banned = self.reject_banned_at == "mail" and self._is_banned(sender, NOBODY)
        refusal = self._decide(self._at_mail, _new(SenderFacts, (envelope.peer, sender, octets, banned))).verdict.reply
        return refusal.naming(sender.address) if refusal and sender else refusal

    def rcpt(self, envelope: Envelope, recipient: Recipient) -> Answer:
        """Decide about the recipient after the directory has answered."""
        found = ask(self.directory_seconds, self.directory.look_up, recipient.path, envelope.reverse_path)
        return self._judge(envelope, recipient, found) if isinstance(found, Lookup) else self._judge_later(envelope, recipient, found)

    def data(self, envelope: Envelope) -> Answer:
        """Decide whether any recipient may still accept the message."""
        if self._says_nothing(self._at_data):
            return None
        recipients = tuple([recipient.state.facts for recipient in envelope.recipients])
        return self._decide(self._at_data, DataFacts(envelope.peer, envelope.reverse_path, recipients)).verdict.reply

    def message(self, envelope: Envelope) -> None:
        """Prepare the trace and the header that the recipients share."""
        line = trace(envelope, hostname=self.hostname, clock=self.clock)
        envelope.state = MessageDelivery(line, Header(envelope.content), iter(envelope.recipients))

    def deliver(self, envelope: Envelope, recipient: Recipient) -> Answer:
        """Decide about the message for this recipient and queue it.  A repeated recipient gets the first reply again."""
        delivery: MessageDelivery = envelope.state
        target = recipient.state.target
        if delivery.ahead and (begun := delivery.ahead.pop(target, None)):
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
        mailing_list = decided.facts.found.list
        current = mailing_list and ask(self.directory_seconds, self.directory.find, mailing_list.path)
        if decided.decision.rule is not header_decides and (current is None or isinstance(current, ANSWERS)):
            return self._deliver(envelope, recipient, current)
        return self._deliver_later(envelope, recipient, current)

    # RCPT -------------------------------------------------------------------------------------------------------

    async def _judge_later(self, envelope: Envelope, recipient: Recipient, found: Awaitable[Lookup]) -> Reply | None:
        return self._judge(envelope, recipient, await found)

    def _judge(self, envelope: Envelope, recipient: Recipient, found: Lookup) -> Reply | None:
        path, sender = recipient.path, envelope.reverse_path
        _, _, _, _, served, _, persons = found
        served = served or not path.domain or a_labels(path.domain) == a_labels(self.hostname)
        banned = (self.reject_banned_at == "rcpt" or persons is not NOBODY) and self._is_banned(sender, persons)
        octets = envelope.declared_octets if envelope.parameters else None
        facts = _new(RecipientFacts, (envelope.peer, sender, octets, path, found, served, False, banned))
        decision = self._decide(self._at_rcpt, facts, found)
        target = target_of(found, path, self.hostname)
        recipient.state = _new(RecipientDecision, (facts, decision, target))
        reply = decision.verdict.reply
        return reply and _named(reply, recipient)

    def _is_banned(self, sender: Path | None, persons: Persons) -> bool:
        """Return whether `sender`, or another address of the same person, is banned from all lists."""
        if sender is None:
            return False
        if persons is NOBODY:
            return self._matches_banned(sender.address)
        normaliser = self.banned_senders.addresses.normaliser
        return any(map(self._matches_banned, persons.addresses_of(sender.address, normaliser)))

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
        verdicts = [self._decide(self._at_rcpt, facts, facts.found).verdict]
        for sender in envelope.state.header_senders(facts.list, self.trust):
            found = await resolve(ask(self.directory_seconds, self.directory.look_up, recipient.path, sender))
            banned = self._is_banned(sender, found.persons)
            about = facts._replace(sender=sender, found=found, banned_everywhere=banned)
            verdicts.append(self._decide(self._at_rcpt, about, found).verdict)
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
        # A rule that cannot speak of the list at RCPT may have a verdict on another one that replaced it.
        same = facts.found if now is facts.found.list else None
        about = _new(MessageFacts, (facts, earlier.verdict, now, envelope.content, delivery.header, down, by_header, author))
        decision = self._decide(self._at_end, about, same)
        if refusal := decision.verdict.reply:
            delivery.answers[target] = refusal
            return _named(refusal, recipient)
        entry = Entry.of(envelope, recipient, target[:3], delivery.trace, (earlier, decision))
        entry.site_owner = self.site_owner
        try:
            kept = self.queues.put(entry)
        except OSError as error:
            return self._answer(envelope, recipient, error)
        if kept is None:
            return self._answer(envelope, recipient)
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
        if isinstance(error := kept.exception(), OSError):
            return self._answer(envelope, recipient, error)
        kept.result()
        return self._answer(envelope, recipient)

    def _answer(self, envelope: Envelope, recipient: Recipient, error: OSError | None = None) -> Reply | None:
        """Remember and return the answer for an entry that was stored, or failed with `error`."""
        target: DeliveryTarget = recipient.state.target
        if error is None or not is_outage(error):  # the engine logs outages
            self._failures.note(error, target.list, recipient.path.address)
        envelope.state.answers[target] = reply = reply_to(error) if error else None
        return _named(reply, recipient)

    def _says_nothing(self, at_stage: StageRules) -> bool:
        """Return whether the stage has no rules, and no observer."""
        return not at_stage.rules and self.on_decision is None

    def _decide(self, at_stage: StageRules, facts: Facts, found: Lookup | None = None) -> Decision:
        decision = decide(at_stage.stage, at_stage.about(found) if found is not None else at_stage.rules, facts)
        if self.on_decision is not None:
            self.on_decision(decision, facts)
        if decision.rule and log.isEnabledFor(logging.INFO):
            log.info("%s", decision)
        return decision


def _named(reply: Reply | None, recipient: Recipient) -> Reply | None:
    return reply.naming(recipient.path.address) if reply else None
