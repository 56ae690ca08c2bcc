"""Records of Mailman's database, read with three statements for the needed columns: for known schemas.

The cost does not depend on the number of lists, members and users.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from mailman.interfaces.member import MemberRole
from mailman.model.address import Address
from mailman.model.bans import Ban
from mailman.model.domain import Domain
from mailman.model.mailinglist import MailingList
from mailman.model.member import Member
from mailman.model.user import User
from sqlalchemy import BindParameter, Connection, Row, bindparam, func, literal, or_, select, union_all

from lmtpref.mailman.database import connect
from lmtpref.mailman.moderation import ListSettings, SenderRecords, these_nonmembers

# The revisions of Mailman's schema (Alembic's names) in which these tables have the columns used here.
# 8cc1f79f4459 is that of Mailman 3.3.10.
REVISIONS = frozenset({"8cc1f79f4459"})

_lists, _domains = MailingList.__table__.c, Domain.__table__.c
_addresses, _users, _memberships, _bans = Address.__table__.c, User.__table__.c, Member.__table__.c, Ban.__table__.c
_names: BindParameter[list[str]] = bindparam("names", expanding=True)
_list_ids: BindParameter[list[str]] = bindparam("list_ids", expanding=True)
_address_ids: BindParameter[list[int]] = bindparam("address_ids", expanding=True)

# Two domains may have the same alias; Mailman takes the first one by name.
MAIL_HOST = func.coalesce(
    select(_domains.mail_host).where(_domains.alias_domain == bindparam("domain")).order_by(_domains.mail_host).limit(1).scalar_subquery(),
    bindparam("domain"),
)
LISTS = (
    select(
        _lists.list_id,
        _lists.list_name,
        _lists.mail_host,
        _domains.alias_domain,
        _lists.posting_chain,
        _lists.emergency,
        _lists.default_member_action,
        _lists.default_nonmember_action,
        _lists.accept_these_nonmembers,
        _lists.hold_these_nonmembers,
        _lists.reject_these_nonmembers,
        _lists.discard_these_nonmembers,
    )
    .select_from(MailingList.__table__.outerjoin(Domain.__table__, _domains.mail_host == _lists.mail_host))
    # The empty string keeps the database from searching by the host, which thousands of lists may share.
    .where(_lists.list_name.in_(_names), _lists.mail_host.concat("") == MAIL_HOST)
)
SERVES = select(_lists.id).where(_lists.mail_host == MAIL_HOST).limit(1)
BANS = select(_bans.email).where(
    or_(_bans.list_id == bindparam("list_id"), _bans.list_id.is_(None)),
    or_(_bans.email == bindparam("sender"), _bans.email.startswith("^")),
)

# The sender's address, and the other addresses of the same user.
_own = Address.__table__.alias("own")
_senders = (
    select(_addresses.id, _addresses.email, _addresses.user_id)
    .join(_own, or_(_own.c.id == _addresses.id, _own.c.user_id == _addresses.user_id))
    .where(_own.c.email == bindparam("sender"))
    .cte("senders")
)
_membership = (_memberships.role, _memberships.moderation_action, _memberships.list_id)
# The empty string keeps the database from searching by the list, which may have thousands of members.
_on_these_lists = _memberships.list_id.concat("").in_(_list_ids)
# A membership belongs to an address, or to a user and thereby to the user's preferred address.
MEMBERSHIPS = union_all(
    select(_senders.c.id, _senders.c.email, *_membership, literal(0).label("by_user")).select_from(
        _senders.outerjoin(Member.__table__, (_memberships.address_id == _senders.c.id) & _on_these_lists)
    ),
    select(_senders.c.id, _senders.c.email, *_membership, literal(1).label("by_user")).select_from(
        _senders.join(User.__table__, (_users.id == _senders.c.user_id) & (_users["_preferred_address_id"] == _senders.c.id)).join(
            Member.__table__, (_memberships.user_id == _users.id) & _on_these_lists
        )
    ),
)
# An address that was unlinked from a user stays preferred.  No index helps to find that user.
UNLINKED = (
    select(_addresses.id, _addresses.email, *_membership, literal(1).label("by_user"))
    .join(User.__table__, _users["_preferred_address_id"] == _addresses.id)
    .join(Member.__table__, (_memberships.user_id == _users.id) & _on_these_lists)
    .where(_addresses.id.in_(_address_ids), or_(_addresses.user_id.is_(None), _addresses.user_id != _users.id))
)


class TableReader:
    """A `Reader` for one question, on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def lists_at(self, names: Iterable[str], domain: str) -> dict[str, ListSettings]:
        """Return the lists with these names at `domain`, or at the domain that it is an alias of."""
        rows = self._rows(LISTS, names=list(names), domain=domain)
        return {row.list_name: _settings(row) for row in rows}

    def serves(self, domain: str) -> bool:
        """Return whether there is a list at `domain`, or at the domain that it is an alias of."""
        return bool(self._rows(SERVES, domain=domain))

    def records(self, sender: str, settings: ListSettings) -> SenderRecords:
        """Return the records of a list about `sender`."""
        bans = self._rows(BANS, sender=sender, list_id=settings.list_id)
        memberships = self._memberships(sender, settings)
        here = [row for row in memberships if row.list_id == settings.list_id]
        members = [row for row in here if row.role is MemberRole.member]
        return SenderRecords(
            bans=tuple(row.email for row in bans),
            members=tuple(row.moderation_action for row in members),
            nonmembers=tuple(row.moderation_action for row in here if row.role is MemberRole.nonmember and row.email == sender),
            other_lists=frozenset(address for address in settings.other_lists if _has_member(memberships, sender, address)),
        )

    def _memberships(self, sender: str, settings: ListSettings) -> list[Row[Any]]:
        """Return the memberships of the sender and of the same user's other addresses, in order of precedence."""
        list_ids = [settings.list_id, *map(_list_id, settings.other_lists)]
        rows = self._rows(MEMBERSHIPS, sender=sender, list_ids=list_ids)
        own = [row for row in rows if row.email == sender]
        if own and not any(row.role is MemberRole.member and row.list_id == settings.list_id for row in own):
            rows += self._rows(UNLINKED, address_ids=[row.id for row in rows], list_ids=list_ids)
        return sorted((row for row in rows if row.role), key=lambda row: (row.email != sender, row.id, row.by_user))

    def _rows(self, statement: Any, **parameters: object) -> list[Row[Any]]:  # noqa: ANN401 - a Select of any columns
        return list(self._connection.execute(statement, parameters))


@contextmanager
def table_reader() -> Iterator[TableReader]:
    """Yield a reader on a connection to Mailman's database."""
    with connect() as connection:
        yield TableReader(connection)


def _settings(row: Row[Any]) -> ListSettings:
    return ListSettings(
        row.list_id,
        row.list_name,
        row.mail_host,
        row.alias_domain,
        row.posting_chain,
        bool(row.emergency),
        row.default_member_action,
        row.default_nonmember_action,
        these_nonmembers(row),
    )


def _list_id(address: str) -> str:
    """Return the List-ID of the list with the posting address `address`, as Mailman forms it."""
    return ".".join(address.partition("@")[::2])


def _has_member(memberships: list[Row[Any]], sender: str, address: str) -> bool:
    return any(row.list_id == _list_id(address) and row.role is MemberRole.member and row.email == sender for row in memberships)
