"""Recipients as Mailman reads them: a list, and one of its sub-addresses."""

from __future__ import annotations

from typing import NamedTuple

from mailman.config import config
from mailman.model.mailinglist import MailingList
from sqlalchemy import bindparam, select

from lmtpref.lists.addresses import SUFFIXES, ListAddress, fold_local
from lmtpref.mailman.database import connect
from lmtpref.mailman.table_reader import MAIL_HOST

# Mailman does not have the suffix `-admin`.
_SUFFIXES = {suffix: subaddress for suffix, subaddress in SUFFIXES.items() if suffix != "admin"}


class ListRecipient(NamedTuple):
    """A list, by its List-ID and its posting address, and the canonical name of a sub-address; None for a post."""

    list_id: str
    list_address: str
    subaddress: str | None


def find_recipient(address: str) -> ListRecipient | None:
    """Return the list and the sub-address of `address`; None if Mailman has no such list.

    A domain's alias stands for the domain.
    """
    local, at, domain = address.lower().rpartition("@")
    if not at:
        return None
    readings = split_local_part(local, config.mta.verp_delimiter)
    with connect() as connection:
        rows = connection.execute(_LISTS, {"domain": domain, "names": [reading.name for reading in readings]}).all()
    found = {row.list_name: row for row in rows}
    for name, subaddress, _ in readings:
        if row := found.get(name):
            return ListRecipient(row.list_id, f"{name}@{row.mail_host}", subaddress and subaddress.value)
    return None


def split_local_part(local: str, delimiter: str) -> tuple[ListAddress, ...]:
    """Return the ways to read `local` in Mailman's syntax, the longest list name first.

    >>> split_local_part("ant-bounces+anne=home.test", "+")[-1]
    ListAddress(name='ant', subaddress=<Subaddress.BOUNCES: 'bounces'>, detail='anne=home.test')

    Unlike `lmtpref.lists.addresses.parse_local_part`, it allows a detail in every address, the list's own included.
    """
    given, mark, rest = local.partition(delimiter)
    detail, head = rest if mark else None, fold_local(given)
    name, _, suffix = head.rpartition("-")
    post = ListAddress(head, None, detail)
    return (post, ListAddress(name, _SUFFIXES[suffix], detail)) if name and suffix in _SUFFIXES else (post,)


# The empty string keeps the database from searching by the host, which thousands of lists may share.
_LISTS = select(MailingList._list_id.label("list_id"), MailingList.list_name, MailingList.mail_host).where(  # noqa: SLF001
    MailingList.list_name.in_(bindparam("names", expanding=True)), MailingList.mail_host.concat("") == MAIL_HOST
)
