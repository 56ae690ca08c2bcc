"""The sender's standing by Mailman's settings: pure functions of records from Mailman's database."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from mailman.interfaces.action import Action

from lmtpref.lists.mailinglist import Judge, MailingList, NonmemberAction, NullSender, Standing
from lmtpref.mailman.patterns import matches

# The posting chain whose rules are known.  For a list with another chain, every sender's standing is unknown.
DEFAULT_CHAIN = "default-posting-chain"

# `defer` continues with the chain, which accepts a post or holds it.
_ACTIONS = {
    Action.accept: NonmemberAction.ACCEPT,
    Action.defer: NonmemberAction.ACCEPT,
    Action.hold: NonmemberAction.HOLD,
    Action.reject: NonmemberAction.REJECT,
    Action.discard: NonmemberAction.DISCARD,
    None: NonmemberAction.ACCEPT,
}


TheseNonmembers = tuple[tuple[NonmemberAction, tuple[str, ...]], ...]


class ListSettings(NamedTuple):
    """The settings of a list that matter for a sender.

    `these_nonmembers` holds the entries of accept_these_nonmembers and of the three similar settings, in the order in which
    Mailman checks them.
    """

    list_id: str
    list_name: str
    mail_host: str
    alias_domain: str | None
    posting_chain: str
    emergency: bool
    member_action: Action | None
    nonmember_action: Action | None
    these_nonmembers: TheseNonmembers

    @property
    def other_lists(self) -> frozenset[str]:
        """The posting addresses in accept_these_nonmembers whose members may post, except the list's own."""
        own = f"{self.list_name}@{self.mail_host}"
        named = (entry[1:] for action, entries in self.these_nonmembers if action is NonmemberAction.ACCEPT for entry in entries)
        return frozenset(address for address in named if "@" in address and address != own)


class SenderRecords(NamedTuple):
    """The records about a sender: entries that ban it or are patterns, memberships, and lists that it is a member of.

    `members` and `nonmembers` hold the moderation action of each membership, the deciding one first.  `other_lists` is the
    part of the list's `other_lists` that has the sender as a member.
    """

    bans: tuple[str, ...] = ()
    members: tuple[Action | None, ...] = ()
    nonmembers: tuple[Action | None, ...] = ()
    other_lists: frozenset[str] = frozenset()


def standing_of(sender: str, settings: ListSettings, records: SenderRecords) -> Standing:
    """Return the standing of `sender`, an address in lower case, by the rules of Mailman's default posting chain."""
    member = bool(records.members)
    if settings.posting_chain != DEFAULT_CHAIN:
        return Standing(member=member, action=NonmemberAction.ACCEPT)
    if any(ban == sender or (ban.startswith("^") and matches(ban, sender, ignore_case=True)) for ban in records.bans):
        return Standing(member=member, banned=True)
    if settings.emergency:
        return Standing(member=member, action=NonmemberAction.HOLD)
    if member:
        [action, *_] = records.members
        return _member(_ACTIONS[settings.member_action if action is None else action])
    return _nonmember(sender, settings, records)


def these_nonmembers(record: Any) -> TheseNonmembers:  # noqa: ANN401 - one of Mailman's lists, or a row with the same names
    """Return the entries of the four settings, in the order in which Mailman checks them; an unset one has no entries."""
    return (
        (NonmemberAction.ACCEPT, tuple(record.accept_these_nonmembers or ())),
        (NonmemberAction.HOLD, tuple(record.hold_these_nonmembers or ())),
        (NonmemberAction.REJECT, tuple(record.reject_these_nonmembers or ())),
        (NonmemberAction.DISCARD, tuple(record.discard_these_nonmembers or ())),
    )


@lru_cache(maxsize=2048)
def mailing_list(settings: ListSettings, judge: Judge) -> MailingList:
    """Return the list without its members; its nonmember action is for senders without an action of their own."""
    action = _ACTIONS[settings.nonmember_action]
    if settings.posting_chain != DEFAULT_CHAIN:
        action = NonmemberAction.ACCEPT
    elif settings.emergency:
        action = NonmemberAction.HOLD
    return MailingList(
        f"{settings.list_name}@{settings.mail_host}",
        alias_domains=[settings.alias_domain] if settings.alias_domain else [],
        generic_nonmember_action=action,
        # For a post from the null sender, Mailman uses the header.
        null_sender=NullSender.ACCEPT if action is NonmemberAction.ACCEPT else NullSender.HOLD,
        judge=judge,
        emergency=settings.emergency,
        require_from=False,
    )


def _member(action: NonmemberAction) -> Standing:
    if action is NonmemberAction.ACCEPT:
        return Standing(member=True)
    return Standing(member=True, moderated=True, action=action)


def _nonmember(sender: str, settings: ListSettings, records: SenderRecords) -> Standing:
    # An action of the sender's own takes precedence over the four settings.
    for own in records.nonmembers[:1]:
        if own is not None:
            return Standing(action=_ACTIONS[own])
    for action in _named(sender, settings, records):
        return Standing(listed=True) if action is NonmemberAction.ACCEPT else Standing(action=action)
    return Standing()


def _named(sender: str, settings: ListSettings, records: SenderRecords) -> Iterator[NonmemberAction]:
    """Yield the actions of the entries that name `sender`."""
    for action, entries in settings.these_nonmembers:
        for entry in entries:
            pattern = entry.startswith("^") and matches(entry, sender, ignore_case=False)
            other_list = action is NonmemberAction.ACCEPT and entry.startswith("@") and entry[1:] in records.other_lists
            if pattern or other_list or entry == sender:
                yield action
