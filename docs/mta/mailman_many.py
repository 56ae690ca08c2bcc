"""Many lists and members in the database of this process's Mailman, as rows: only pages that have GNU Mailman import this."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count
from uuid import uuid4

from mailman.config import config
from mailman.interfaces.member import MemberRole
from mailman.model.address import Address
from mailman.model.mailinglist import MailingList
from mailman.model.member import Member
from sqlalchemy import func, select

_numbers = count(1)


def add_lists(number: int) -> None:
    """Add lists with the settings of the first one."""
    table = MailingList.__table__
    with config.db.engine.begin() as connection:
        first = dict(connection.execute(select(table).order_by(table.c.id).limit(1)).mappings().one())
        del first["id"]
        names = [f"list-{next(_numbers)}" for _ in range(number)]
        rows = [{**first, "list_name": name, "list_id": f"{name}.{first['mail_host']}"} for name in names]
        connection.execute(table.insert(), rows)


def add_members(list_id: str, number: int) -> None:
    """Add members to a list, each with an address of its own."""
    addresses, members = Address.__table__, Member.__table__
    with config.db.engine.begin() as connection:
        last = connection.scalar(select(func.max(addresses.c.id))) or 0
        emails = [f"member-{next(_numbers)}@home.test" for _ in range(number)]
        connection.execute(
            addresses.insert(),
            [{"id": last + place, "email": email, "verified_on": datetime.now(UTC)} for place, email in enumerate(emails, 1)],
        )
        connection.execute(
            members.insert(),
            [
                {"_member_id": uuid4(), "role": MemberRole.member, "list_id": list_id, "address_id": last + place}
                for place, _ in enumerate(emails, 1)
            ],
        )
