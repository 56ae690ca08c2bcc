"""Records of Mailman's database, read by Mailman's own interfaces: for a database with an unknown schema."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from mailman.interfaces.action import Action
from mailman.interfaces.bans import IBanManager
from mailman.interfaces.domain import IDomainManager
from mailman.interfaces.listmanager import IListManager
from mailman.interfaces.mailinglist import IMailingList
from mailman.interfaces.usermanager import IUserManager
from zope.component import getUtility

from lmtpref.mailman.database import own_session
from lmtpref.mailman.moderation import ListSettings, SenderRecords, these_nonmembers


class InterfaceReader:
    """A `Reader` for one question, used in the thread of that question."""

    def lists_at(self, names: Iterable[str], domain: str) -> dict[str, ListSettings]:
        """Return the lists with these names at `domain`, or at the domain that it is an alias of."""
        mail_host = _mail_host(domain)
        found = {name: getUtility(IListManager).get_by_fqdn(f"{name}@{mail_host}") for name in names}
        return {name: _settings(mlist) for name, mlist in found.items() if mlist is not None}

    def serves(self, domain: str) -> bool:
        """Return whether there is a list at `domain`, or at the domain that it is an alias of."""
        return any(True for _ in getUtility(IListManager).find(mail_host=_mail_host(domain)))

    def records(self, sender: str, settings: ListSettings) -> SenderRecords:
        """Return the records of a list about `sender`."""
        mlist = getUtility(IListManager).get_by_list_id(settings.list_id)
        bans = (ban.email for manager in (IBanManager(mlist), IBanManager(None)) for ban in manager.bans)
        nonmember = mlist.nonmembers.get_member(sender)
        return SenderRecords(
            bans=tuple(ban for ban in bans if ban == sender or ban.startswith("^")),
            members=tuple(_members(mlist, sender)),
            nonmembers=() if nonmember is None else (nonmember.moderation_action,),
            other_lists=frozenset(address for address in settings.other_lists if _is_member(sender, address)),
        )


@contextmanager
def interface_reader() -> Iterator[InterfaceReader]:
    """Yield a reader on the thread's own session."""
    with own_session():
        yield InterfaceReader()


def _mail_host(domain: str) -> str:
    return next((found.mail_host for found in getUtility(IDomainManager) if found.alias_domain == domain), domain)


def _settings(mlist: IMailingList) -> ListSettings:
    domain = getUtility(IDomainManager).get(mlist.mail_host)
    return ListSettings(
        mlist.list_id,
        mlist.list_name,
        mlist.mail_host,
        domain.alias_domain if domain else None,
        mlist.posting_chain,
        bool(mlist.emergency),
        mlist.default_member_action,
        mlist.default_nonmember_action,
        these_nonmembers(mlist),
    )


def _members(mlist: IMailingList, sender: str) -> Iterator[Action | None]:
    """Yield the moderation action of the sender's own membership, then those of the same user's other addresses."""
    user = getUtility(IUserManager).get_user(sender)
    others = sorted((address for address in user.addresses if address.email != sender), key=lambda address: address.id) if user else []
    for email in (sender, *(address.email for address in others)):
        if (member := mlist.members.get_member(email)) is not None:
            yield member.moderation_action


def _is_member(sender: str, address: str) -> bool:
    mlist = getUtility(IListManager).get_by_fqdn(address)
    return mlist is not None and mlist.members.get_member(sender) is not None
