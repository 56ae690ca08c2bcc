"""The rules at the end of data: pure functions that take the facts about the message and one recipient."""

from __future__ import annotations

from lmtpref.lists.mailinglist import Judge, NullSender, Unvouched
from lmtpref.lists.policy.facts import MessageFacts, Stage
from lmtpref.lists.policy.rules import at, exceeds, no_post
from lmtpref.lists.policy.verdicts import Accept, Defer, Discard, Hold, Reject, Verdict
from lmtpref.protocol import catalogue as say
from lmtpref.protocol.replies import Reply

# RFC 5321 section 6.3: a count of Received fields that indicates a loop should be at least 100.
MAX_RECEIVED_FIELDS = 100


@at(Stage.END_OF_DATA, may=(say.DIRECTORY_451,), needs=no_post)
def directory_down_since(facts: MessageFacts) -> Verdict | None:
    """Defer if the list cannot be looked up again."""
    return _DIRECTORY_DOWN if facts.down else None


@at(Stage.END_OF_DATA, may=(say.UNKNOWN_LIST_550,), needs=no_post)
def list_removed(facts: MessageFacts) -> Verdict | None:
    """Reject the recipient if its list was removed after RCPT."""
    return _UNKNOWN_LIST if facts.list is None and facts.rcpt.list else None


@at(Stage.END_OF_DATA, may=(Accept, Hold, Discard), needs=no_post)
def still_not_a_post(facts: MessageFacts) -> Verdict | None:
    """Keep the verdict of RCPT for mail that is not a post."""
    return None if facts.rcpt.is_post else facts.verdict


@at(Stage.END_OF_DATA, may=(say.NULL_SENDER_554, Hold), needs=lambda mailing_list, _standing: mailing_list.null_sender != NullSender.ACCEPT)
def null_sender(facts: MessageFacts) -> Verdict | None:
    """Reject or hold a post from the null sender, unless the list accepts it."""
    return None if facts.rcpt.sender or not facts.list else _NULL_SENDER_VERDICTS[facts.list.null_sender]


@at(Stage.END_OF_DATA, may=(Reject, Defer), needs=lambda mailing_list, _standing: mailing_list.judge == Judge.ENVELOPE_OR_FROM)
def header_refuses(facts: MessageFacts) -> Verdict | None:
    """If the list also judges header senders, reject a post when none of its senders may post."""
    return facts.by_header if facts.by_header and facts.by_header.reply else None


@at(
    Stage.END_OF_DATA,
    may=(say.OVER_LIST_LIMIT_552, Hold, Discard),
    needs=lambda mailing_list, _standing: mailing_list.max_message_octets is not None,
)
def too_big(facts: MessageFacts) -> Verdict | None:
    """Stop a post over the list's size limit, whatever size was declared."""
    over = facts.list and exceeds(len(facts.content), facts.list.max_message_octets)
    return _object(facts, say.OVER_LIST_LIMIT_552, "too big") if over else None


@at(Stage.END_OF_DATA, may=(say.NO_FROM_554, Hold, Discard), needs=lambda mailing_list, _standing: mailing_list.require_from)
def no_from(facts: MessageFacts) -> Verdict | None:
    """Stop a post without a From field (RFC 5322 section 3.6), if the list requires one."""
    if facts.list is None or not facts.list.require_from or facts.header.has_from:
        return None
    return _object(facts, say.NO_FROM_554, "no From")


@at(Stage.END_OF_DATA, may=(say.OWN_LIST_554, Hold, Discard))
def own_list(facts: MessageFacts) -> Verdict | None:
    """Stop a post with the list's own List-Id or List-Post: it is looping."""
    loops = facts.list and facts.header.lists and facts.header.lists & facts.list.identities
    return _object(facts, say.OWN_LIST_554, "own list") if loops else None


@at(Stage.END_OF_DATA, may=(say.TOO_MANY_HOPS_554, Hold, Discard))
def too_many_hops(facts: MessageFacts) -> Verdict | None:
    """Stop a post with more than 100 Received fields: it is looping (RFC 5321 section 6.3)."""
    return _object(facts, say.TOO_MANY_HOPS_554, "too many hops") if facts.header.received > MAX_RECEIVED_FIELDS else None


@at(Stage.END_OF_DATA, may=(Hold,), needs=lambda mailing_list, _standing: mailing_list.emergency)
def emergency(facts: MessageFacts) -> Verdict | None:
    """While the list is in an emergency, hold every post that it would distribute."""
    holds = facts.list and facts.list.emergency and not facts.discarded
    return _HOLD_EMERGENCY if holds else None


@at(Stage.END_OF_DATA, may=(Accept, Hold, Discard), needs=lambda mailing_list, _standing: mailing_list.judge == Judge.ENVELOPE_OR_FROM)
def header_allows(facts: MessageFacts) -> Verdict | None:
    """If the list also judges header senders, apply the most favourable of their verdicts."""
    return facts.by_header


@at(Stage.END_OF_DATA, may=(Accept, Hold, Discard))
def as_at_rcpt(facts: MessageFacts) -> Verdict | None:
    """Keep the verdict of RCPT."""
    return facts.verdict


_DIRECTORY_DOWN = Defer(say.DIRECTORY_451)
_UNKNOWN_LIST = Reject(say.UNKNOWN_LIST_550)
_HOLD_EMERGENCY = Hold("emergency")
_NULL_SENDER_VERDICTS: dict[str, Verdict | None] = {
    NullSender.REJECT: Reject(say.NULL_SENDER_554),
    NullSender.HOLD: Hold("null sender"),
    NullSender.ACCEPT: None,
}


def _object(facts: MessageFacts, reply: Reply, reason: str) -> Verdict:
    """Return the verdict on a post that a content rule stops: reject it for a vouched sender, else do as `unvouched` says.

    The MTA turns a rejection into a bounce, so an unvouched sender, which may be forged, gets one only if the list says so.
    A post that would be discarded anyway is not held.
    """
    if facts.rcpt.vouched or facts.list is None or facts.list.unvouched == Unvouched.REJECT:
        return Reject(reply)
    if facts.list.unvouched == Unvouched.DISCARD or facts.discarded:
        return Discard(reason)
    return Hold(reason)
