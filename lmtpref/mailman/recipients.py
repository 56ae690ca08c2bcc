"""Recipients as Mailman reads them: a list, and one of its sub-addresses."""

from __future__ import annotations

from typing import NamedTuple

from mailman.config import config
from mailman.model.domain import Domain
from mailman.model.mailinglist import MailingList
from sqlalchemy import bindparam, func, select

from lmtpref.mailman.database import connect

# The text after the last hyphen of a local-part, and the canonical name of that sub-address.
SUBADDRESSES = {
    "bounces": "bounces",
    "confirm": "confirm",
    "join": "join",
    "leave": "leave",
    "owner": "owner",
    "request": "request",
    "subscribe": "join",
    "unsubscribe": "leave",
}


class ListRecipient(NamedTuple):
    """A list, by its List-ID and its posting address, and the canonical name of a sub-address; None for a post."""

    list_id: str
    list_address: str
    subaddress: str | None


def find_recipient(address: str) -> ListRecipient | None:
    """Return the list and the sub-address of `address`; None if Mailman has no such list.

    Mailman's own rules apply: case does not matter, a domain's alias stands for the domain, the text from `verp_delimiter` on is
    ignored, and the list with the longer name wins.
    """
    local, at, domain = address.lower().rpartition("@")
    if not at:
        return None
    name = local.split(config.mta.verp_delimiter, 1)[0]
    head, _, suffix = name.rpartition("-")
    subaddress = SUBADDRESSES.get(suffix) if head else None
    with connect() as connection:
        rows = connection.execute(_LISTS, {"domain": domain, "name": name, "head": head if subaddress else name}).all()
    found = {row.list_name: row for row in rows}
    if row := found.get(name):
        return ListRecipient(row.list_id, f"{name}@{row.mail_host}", None)
    if subaddress and (row := found.get(head)):
        return ListRecipient(row.list_id, f"{head}@{row.mail_host}", subaddress)
    return None


_MAIN_DOMAIN = func.coalesce(
    select(Domain.mail_host).where(Domain.alias_domain == bindparam("domain")).order_by(Domain.id).limit(1).scalar_subquery(),
    bindparam("domain"),
)
# The empty string keeps the database from searching by the host, which thousands of lists may share.
_LISTS = select(MailingList._list_id.label("list_id"), MailingList.list_name, MailingList.mail_host).where(  # noqa: SLF001
    MailingList.list_name.in_([bindparam("name"), bindparam("head")]), MailingList.mail_host.concat("") == _MAIN_DOMAIN
)
