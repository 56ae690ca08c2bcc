"""The rules, each a pure function: what is known -> a verdict, or None where the rule has nothing to say.

A rule's first line says its policy in one sentence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from lmtpref.lists.facts import DataFacts, MessageFacts, PeerFacts, RecipientFacts, SenderFacts, Stage
from lmtpref.lists.roster import NonmemberAction, NullSender
from lmtpref.lists.verdicts import ACCEPT, Discard, Hold, Refuse, Verdict
from lmtpref.protocol import catalogue as say

F_contra = TypeVar("F_contra", contravariant=True)  # what a rule is told


@dataclass(frozen=True, slots=True)
class Rule(Generic[F_contra]):
    """A named rule of one stage; calling it asks it."""

    stage: Stage
    name: str
    policy: str  # one sentence
    decide: Callable[[F_contra], Verdict | None]

    def __call__(self, facts: F_contra) -> Verdict | None:
        """The rule's verdict on `facts`; None if it has none."""
        return self.decide(facts)


def at(stage: Stage) -> Callable[[Callable[[F_contra], Verdict | None]], Rule[F_contra]]:
    """Make the function below a rule of `stage`, with its own name and the first line of its docstring."""

    def make(decide: Callable[[F_contra], Verdict | None]) -> Rule[F_contra]:
        policy, *_ = (decide.__doc__ or "").splitlines() or [""]
        return Rule(stage, decide.__name__, policy, decide)

    return make


# LHLO


@at(Stage.LHLO)
def unknown_mta(facts: PeerFacts) -> Verdict | None:
    """Only a sending MTA that we know may talk to us."""
    return None if facts.peer.known else Refuse(say.UNKNOWN_MTA_550)


# MAIL


@at(Stage.MAIL)
def banned_everywhere(facts: SenderFacts) -> Verdict | None:
    """A sender banned from all lists is told so before naming any."""
    return Refuse(say.BANNED_550) if facts.banned else None


# RCPT


@at(Stage.RCPT)
def postmaster(facts: RecipientFacts) -> Verdict | None:
    """Everyone may write to postmaster (RFC 5321 section 4.5.1)."""
    return ACCEPT if facts.recipient.is_postmaster and facts.served else None


@at(Stage.RCPT)
def unknown_list(facts: RecipientFacts) -> Verdict | None:
    """What is neither a list nor a sub-address of one is unknown."""
    return Refuse(say.UNKNOWN_LIST_550) if facts.list is None else None


@at(Stage.RCPT)
def not_a_post(facts: RecipientFacts) -> Verdict | None:
    """Everyone may write to a sub-address: nothing sent there is distributed."""
    return None if facts.is_post else ACCEPT


@at(Stage.RCPT)
def declared_too_big(facts: RecipientFacts) -> Verdict | None:
    """A post declared larger than the list takes need not be sent."""
    return Refuse(say.OVER_LIST_LIMIT_552) if facts.list and _exceeds(facts.declared_octets, facts.list.max_message_octets) else None


@at(Stage.RCPT)
def null_sender_waits(facts: RecipientFacts) -> Verdict | None:
    """The null sender is judged at DATA, because call-outs end at RCPT."""
    return ACCEPT if facts.sender is None else None


@at(Stage.RCPT)
def accept_these_nonmembers(facts: RecipientFacts) -> Verdict | None:
    """A sender in the list's accept_these_nonmembers may post."""
    return ACCEPT if facts.found.standing.listed else None


_NONMEMBER_VERDICTS: dict[str, Verdict] = {
    NonmemberAction.ACCEPT: ACCEPT,
    NonmemberAction.HOLD: Hold("not a member"),
    NonmemberAction.DISCARD: Discard("not a member"),
}


@at(Stage.RCPT)
def generic_nonmember_action(facts: RecipientFacts) -> Verdict | None:
    """What the list does with the posts of non-members, unless it rejects them."""
    if facts.list is None or facts.found.standing.member:
        return None
    return _NONMEMBER_VERDICTS.get(facts.list.generic_nonmember_action)


@at(Stage.RCPT)
def member(facts: RecipientFacts) -> Verdict | None:
    """A member may post; a moderated one is held, or refused where the list says so."""
    if facts.list is None or not facts.found.standing.member:
        return None
    if not facts.found.standing.moderated:
        return ACCEPT
    return Refuse(say.MODERATED_550) if facts.list.reject_moderated else Hold("moderated member")


@at(Stage.RCPT)
def closed_list(_facts: RecipientFacts) -> Verdict | None:
    """Who gets this far is a non-member of a closed list, and may not post."""
    return Refuse(say.CLOSED_LIST_550)


# DATA


@at(Stage.DATA)
def null_sender_at_data(facts: DataFacts) -> Verdict | None:
    """A message from the null sender to nothing but posting addresses that refuse it need not be sent."""
    refused = facts.sender is None and all(rcpt.is_post and _refuses_null_sender(rcpt) for rcpt in facts.recipients)
    return Refuse(say.NULL_SENDER_554) if refused else None


# End of data


@at(Stage.END_OF_DATA)
def list_removed(facts: MessageFacts) -> Verdict | None:
    """A list that was removed since RCPT is unknown."""
    return Refuse(say.UNKNOWN_LIST_550) if facts.rcpt.list and not facts.list else None


@at(Stage.END_OF_DATA)
def null_sender(facts: MessageFacts) -> Verdict | None:
    """The null sender's post is refused, held or accepted, as the list says."""
    if facts.rcpt.sender or not facts.list or not facts.rcpt.is_post:
        return None
    return _NULL_SENDER_VERDICTS[facts.list.null_sender]


_NULL_SENDER_VERDICTS: dict[str, Verdict | None] = {
    NullSender.REFUSE: Refuse(say.NULL_SENDER_554),
    NullSender.HOLD: Hold("null sender"),
    NullSender.ACCEPT: None,
}


@at(Stage.END_OF_DATA)
def too_big(facts: MessageFacts) -> Verdict | None:
    """A post larger than the list takes is refused, whatever size was declared."""
    over = facts.rcpt.is_post and facts.list and _exceeds(len(facts.content), facts.list.max_message_octets)
    return Refuse(say.OVER_LIST_LIMIT_552) if over else None


@at(Stage.END_OF_DATA)
def as_at_rcpt(facts: MessageFacts) -> Verdict | None:
    """What was decided at RCPT stands."""
    return facts.verdict


def _exceeds(octets: int | None, limit: int | None) -> bool:
    return octets is not None and limit is not None and octets > limit


def _refuses_null_sender(facts: RecipientFacts) -> bool:
    return facts.list is not None and facts.list.null_sender == NullSender.REFUSE
