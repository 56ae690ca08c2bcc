"""The rules up to DATA: pure functions that take the known facts and return a verdict, or None.

The first line of a rule's docstring is its policy in one sentence, which `lmtpref explain --json` prints.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from inspect import iscoroutinefunction
from typing import Generic, TypeVar

from lmtpref.lists.mailinglist import Judge, MailingList, NonmemberAction, NullSender, Standing
from lmtpref.lists.policy.facts import DataFacts, PeerFacts, RecipientFacts, SenderFacts, Stage
from lmtpref.lists.policy.verdicts import ACCEPT, Accept, Allowed, Defer, Discard, Hold, Reject, Verdict, kinds_of
from lmtpref.protocol import catalogue as say
from lmtpref.protocol.errors import UsageError

F_contra = TypeVar("F_contra", contravariant=True)  # the facts of a stage
# Whether a rule can have a verdict on a post to this list by a sender with this standing.
Needs = Callable[[MailingList, Standing], bool]
STAGES_OF_A_POST = frozenset({Stage.RCPT, Stage.END_OF_DATA})


@dataclass(frozen=True, slots=True)
class Rule(Generic[F_contra]):
    """A named rule of one stage; it is called like the function `decide`.

    `may` holds the verdicts that it may return: the class of a verdict, or the reply of a `Reject` or `Defer`.
    None allows every verdict.
    If `needs` returns False for a list and a sender's standing there, `decide` returns None for every post of that sender
    to that list, so it need not be called.
    """

    stage: Stage
    name: str
    policy: str  # one sentence
    decide: Callable[[F_contra], Verdict | None]
    may: tuple[Allowed, ...] | None = None
    needs: Needs | None = None
    kinds: frozenset[object] | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "kinds", None if self.may is None else kinds_of(self.may))

    def allows(self, verdict: Verdict) -> bool:
        """Return whether the rule may return `verdict`; two replies are alike if their codes are."""
        kinds = self.kinds
        if kinds is None or type(verdict) in kinds:
            return True
        reply = verdict.reply
        return reply is not None and (reply.code, reply.enhanced) in kinds

    def __call__(self, facts: F_contra) -> Verdict | None:
        """Return the rule's verdict on `facts`; None if it has none."""
        return self.decide(facts)


def at(
    stage: Stage, *, may: tuple[Allowed, ...] | None = None, needs: Needs | None = None
) -> Callable[[Callable[[F_contra], Verdict | None]], Rule[F_contra]]:
    """Return a decorator that makes a function a rule of `stage`; its policy is the first line of the docstring.

    `may` holds the verdicts that the rule may return (see `Rule`).
    `needs(mailing_list, standing)` tells whether the rule can have a verdict on a post to that list by a sender with that
    standing.  It is called once for each such pair, not for each post.  A rule without `needs` is always asked.

    Raises UsageError: if the function is `async`, because a rule never waits; if `may` holds anything but classes of
    verdicts and 4xx or 5xx replies; or if `needs` is given for a stage without a list.
    """
    if needs is not None and stage not in STAGES_OF_A_POST:
        raise UsageError(f"no list is known at {stage.value}, so a rule there cannot have `needs`")

    def make(decide: Callable[[F_contra], Verdict | None]) -> Rule[F_contra]:
        if iscoroutinefunction(decide):
            raise UsageError(f"a rule never waits: {decide.__name__} is async")
        policy, *_ = (decide.__doc__ or "").splitlines() or [""]
        return Rule(stage, decide.__name__, policy, decide, may, needs)

    return make


def no_post(_list: MailingList, _standing: Standing) -> bool:
    """Say that a rule has no verdict on posts."""
    return False


# Connect


@at(Stage.CONNECT, may=(Accept,))
def anyone(_facts: PeerFacts) -> Verdict | None:
    """Accept every connection: a later stage can give a clearer rejection."""
    return ACCEPT


# LHLO


@at(Stage.LHLO, may=(say.UNKNOWN_MTA_550,))
def unknown_mta(facts: PeerFacts) -> Verdict | None:
    """Reject a sending MTA that the server does not know, unless its certificate may still make it known."""
    return None if facts.peer.known or facts.peer.may_become_known else _UNKNOWN_MTA


# MAIL


@at(Stage.MAIL, may=(say.BANNED_550,))
def banned_everywhere(facts: SenderFacts) -> Verdict | None:
    """Reject a sender banned from all lists, unless the server waits for RCPT."""
    return _BANNED_EVERYWHERE if facts.banned else None


# RCPT


@at(Stage.RCPT, may=(say.DIRECTORY_451,), needs=no_post)
def directory_down(facts: RecipientFacts) -> Verdict | None:
    """Defer if the lists cannot be looked up."""
    return _DIRECTORY_DOWN if facts.found.down else None


@at(Stage.RCPT, may=(say.MEMBERS_450,), needs=lambda _list, standing: not standing.known)
def members_unreadable(facts: RecipientFacts) -> Verdict | None:
    """Defer a post if the list's members cannot be read."""
    return None if facts.found.standing.known or not facts.is_post else _MEMBERS_UNREADABLE


@at(Stage.RCPT, may=(say.RETIRED_550,), needs=lambda mailing_list, _standing: mailing_list.retired)
def retired(facts: RecipientFacts) -> Verdict | None:
    """Reject every post to a retired list."""
    found = facts.found
    return _RETIRED if found.list and found.list.retired and facts.is_post else None


@at(Stage.RCPT, may=(Accept,))
def postmaster(facts: RecipientFacts) -> Verdict | None:
    """Accept mail for postmaster from any sender (RFC 5321 section 4.5.1)."""
    return ACCEPT if facts.recipient.is_postmaster and facts.served else None


@at(Stage.RCPT, may=(say.BANNED_550,))
def banned_at_rcpt(facts: RecipientFacts) -> Verdict | None:
    """Reject a sender banned from all lists if MAIL could not, or left it to RCPT."""
    return _BANNED_EVERYWHERE if facts.banned_everywhere else None


@at(Stage.RCPT, may=(say.UNKNOWN_LIST_550,), needs=no_post)
def unknown_list(facts: RecipientFacts) -> Verdict | None:
    """Reject an address that is neither a list nor a sub-address of one."""
    return _UNKNOWN_LIST if facts.found.list is None else None


@at(Stage.RCPT, may=(Accept,), needs=no_post)
def not_a_post(facts: RecipientFacts) -> Verdict | None:
    """Accept mail for a sub-address from any sender, because it is not distributed."""
    return None if facts.is_post else ACCEPT


@at(Stage.RCPT, may=(say.BANNED_FROM_LIST_550,), needs=lambda _list, standing: standing.banned)
def banned(facts: RecipientFacts) -> Verdict | None:
    """Reject a post from a sender in the list's banned, member or not."""
    return _BANNED if facts.found.standing.banned else None


@at(Stage.RCPT, may=(say.OVER_LIST_LIMIT_552,), needs=lambda mailing_list, _standing: mailing_list.max_message_octets is not None)
def declared_too_big(facts: RecipientFacts) -> Verdict | None:
    """Reject a post whose declared size exceeds the list's limit."""
    return _TOO_BIG if facts.found.list and exceeds(facts.declared_octets, facts.found.list.max_message_octets) else None


@at(Stage.RCPT, may=(Accept,))
def null_sender_waits(facts: RecipientFacts) -> Verdict | None:
    """Accept the null sender until DATA, because call-outs end at RCPT."""
    return ACCEPT if facts.sender is None else None


@at(Stage.RCPT, may=(Accept,), needs=lambda _list, standing: standing.listed)
def accept_these_nonmembers(facts: RecipientFacts) -> Verdict | None:
    """Accept a sender in the list's accept_these_nonmembers."""
    return ACCEPT if facts.found.standing.listed else None


@at(Stage.RCPT, may=(Accept,), needs=lambda mailing_list, standing: mailing_list.judge == Judge.ENVELOPE_OR_FROM and not standing.member)
def header_decides(facts: RecipientFacts) -> Verdict | None:
    """If the list also judges header senders, accept an unknown sender until the message arrives."""
    found = facts.found
    if _is_welcome_member(found.standing) or found.list is None or facts.in_header:
        return None
    return ACCEPT if found.list.judge == Judge.ENVELOPE_OR_FROM else None


@at(Stage.RCPT, may=(Accept, Hold, Discard), needs=lambda _list, standing: not standing.member)
def generic_nonmember_action(facts: RecipientFacts) -> Verdict | None:
    """Accept, hold or discard a post from a non-member, unless the action is to reject it."""
    if facts.found.list is None or facts.found.standing.member:
        return None
    return _NONMEMBER_VERDICTS.get(facts.found.standing.action or facts.found.list.generic_nonmember_action)


@at(Stage.RCPT, may=(Accept, Hold, Discard, say.MODERATED_550), needs=lambda _list, standing: standing.member)
def member(facts: RecipientFacts) -> Verdict | None:
    """Accept a member's post; hold, discard or reject a moderated member's, as the list says."""
    found = facts.found
    standing = found.standing
    if found.list is None or not standing.member:
        return None
    if standing.action:
        return _MEMBER_VERDICTS[standing.action]
    if not standing.moderated:
        return ACCEPT
    return _MODERATED if found.list.reject_moderated else _HOLD_MODERATED


@at(Stage.RCPT, may=(say.CLOSED_LIST_550,))
def closed_list(_facts: RecipientFacts) -> Verdict | None:
    """Reject the post: its sender is not a member of a closed list."""
    return _CLOSED_LIST


# DATA


@at(Stage.DATA, may=(say.NULL_SENDER_554,))
def null_sender_at_data(facts: DataFacts) -> Verdict | None:
    """Reject DATA from the null sender if every recipient is a post that its list rejects."""
    refused = facts.sender is None and all(rcpt.is_post and _refuses_null_sender(rcpt) for rcpt in facts.recipients)
    return _NULL_SENDER if refused else None


# Verdicts are immutable, so each is made once.
_UNKNOWN_MTA = Reject(say.UNKNOWN_MTA_550)
_BANNED_EVERYWHERE = Reject(say.BANNED_550)
_DIRECTORY_DOWN = Defer(say.DIRECTORY_451)
_MEMBERS_UNREADABLE = Defer(say.MEMBERS_450)
_RETIRED = Reject(say.RETIRED_550)
_UNKNOWN_LIST = Reject(say.UNKNOWN_LIST_550)
_BANNED = Reject(say.BANNED_FROM_LIST_550)
_TOO_BIG = Reject(say.OVER_LIST_LIMIT_552)
_MODERATED, _HOLD_MODERATED = Reject(say.MODERATED_550), Hold("moderated member")
_CLOSED_LIST = Reject(say.CLOSED_LIST_550)
_NULL_SENDER = Reject(say.NULL_SENDER_554)
_NONMEMBER_VERDICTS: dict[str, Verdict] = {
    NonmemberAction.ACCEPT: ACCEPT,
    NonmemberAction.HOLD: Hold("not a member"),
    NonmemberAction.DISCARD: Discard("not a member"),
}
_MEMBER_VERDICTS: dict[str, Verdict] = {
    NonmemberAction.ACCEPT: ACCEPT,
    NonmemberAction.HOLD: _HOLD_MODERATED,
    NonmemberAction.REJECT: _MODERATED,
    NonmemberAction.DISCARD: Discard("moderated member"),
}


def exceeds(octets: int | None, limit: int | None) -> bool:
    """Return whether both are given and `octets` is more than `limit`."""
    return octets is not None and limit is not None and octets > limit


def _is_welcome_member(standing: Standing) -> bool:
    """Return whether the sender is a member whose posts the directory does not reject, whatever their header says."""
    return standing.member and standing.action != NonmemberAction.REJECT


def _refuses_null_sender(facts: RecipientFacts) -> bool:
    return facts.found.list is not None and facts.found.list.null_sender == NullSender.REJECT
