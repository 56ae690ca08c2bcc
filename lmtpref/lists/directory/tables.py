"""The tables of the SQL directory, and the conversion of a list to rows and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import Field, fields
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, MetaData, String, Table, Text, false, true

from lmtpref.lists.addresses import fold_local, parse_address
from lmtpref.lists.mailinglist import MailingList
from lmtpref.lists.senders import domain_key, names_domain, possible_keys
from lmtpref.protocol.domains import a_labels
from lmtpref.protocol.syntax import Path

metadata = MetaData()
Row = dict[str, Any]

_WITH_TABLES_OF_THEIR_OWN = frozenset({"address", "members", "moderated"})
_SETTINGS = {field.name: field for field in fields(MailingList) if field.init and field.name not in _WITH_TABLES_OF_THEIR_OWN}

# A setting with many entries has rows, and every other setting has a column.  `normalise` has one column for all its words.
_WORDS = frozenset({"normalise"})
MANY = tuple(name for name, field in _SETTINGS.items() if field.default == () and name not in _WORDS)
ONE = tuple(name for name in _SETTINGS if name not in MANY)

# A look-up reads only the entries of these settings that can concern the sender, and every entry of all other settings.
ABOUT_SENDERS = frozenset({"accept_these_nonmembers", "banned"})


def _column(field: Field[Any]) -> Column[Any]:
    """Return the column of a setting with one value, with the setting's default."""
    default: object = "" if field.name in _WORDS else field.default
    if isinstance(default, bool):
        return Column(field.name, Boolean, nullable=False, server_default=true() if default else false())
    if default is None or isinstance(default, int):
        kind: type[BigInteger | Text] = BigInteger if "int" in str(field.type) else Text
        return Column(field.name, kind, nullable=default is None, server_default=None if default is None else str(default))
    return Column(field.name, String(40), nullable=False, server_default=str(default))


lists = Table(
    "lists",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("address", Text, nullable=False, comment="the list's own address, as given"),
    *(_column(_SETTINGS[name]) for name in ONE),
    comment="one row for each list: its settings with one value",
)
places = Table(
    "places",
    metadata,
    Column("address_key", Text, primary_key=True, comment="name@domain in lower case, the name without quotes, the domain as A-labels"),
    Column("domain_key", Text, nullable=False, index=True, comment="the domain as A-labels, in lower case"),
    Column("list_id", ForeignKey(lists.c.id), nullable=False),
    comment="the addresses of the lists: one row for a list's own domain, and one for each alias domain",
)
members = Table(
    "members",
    metadata,
    Column("list_id", ForeignKey(lists.c.id), primary_key=True),
    Column("address_key", Text, primary_key=True, comment="the address in lower case, its domain as A-labels, normalised as the list says"),
    Column("address", Text, primary_key=True, comment="the address as given"),
    Column("moderated", Boolean, nullable=False, server_default=false()),
    comment="one row for each member",
)
entries = Table(
    "entries",
    metadata,
    Column("list_id", ForeignKey(lists.c.id), primary_key=True),
    Column("setting", String(40), primary_key=True),
    Column("entry", Text, primary_key=True, comment="the entry as given"),
    Column(
        "address_key",
        Text,
        nullable=False,
        server_default="",
        comment="a sender's address as in members, or @domain; empty: for all",
    ),
    Column("place_key", Text, comment="for @other-list, the address_key of that list in places"),
    Index("ix_entries_sender", "list_id", "address_key"),
    comment="one row for each entry of a setting that has several",
)
persons = Table(
    "persons",
    metadata,
    Column("address_key", Text, primary_key=True, comment="a key by which the sender may be found"),
    Column("person_id", Integer, primary_key=True, autoincrement=False, index=True),
    Column("address", Text, primary_key=True, comment="the address as given"),
    comment="one row for each address of a person, and each way to normalise it",
)


def place_key(name: str, domain: str) -> str:
    """Return the key of a place; `name` is a list's name without quotes."""
    return f"{fold_local(name)}@{a_labels(domain)}"


def path_key(path: Path) -> str:
    """Return the key of the place that `path` names."""
    return place_key(path.local, path.domain)


def rows_of(number: int, mailing_list: MailingList) -> Iterator[tuple[Table, Iterable[Row]]]:
    """Yield the tables and rows to insert for a list; a table comes after the tables that it refers to."""
    yield lists, [{"id": number, "address": mailing_list.address, **{name: _plain(getattr(mailing_list, name)) for name in ONE}}]
    yield places, [{"address_key": place_key(*place), "domain_key": place[1], "list_id": number} for place in mailing_list.places]
    moderated, key = mailing_list.moderated, mailing_list.normaliser.key
    yield members, ({"list_id": number, "address_key": key(m), "address": m, "moderated": m in moderated} for m in mailing_list.members)
    yield entries, [_entry(number, name, entry, key) for name in MANY for entry in dict.fromkeys(getattr(mailing_list, name))]


def person_rows(addresses_of_all: Iterable[Iterable[str]]) -> Iterator[Row]:
    """Yield the rows to insert for persons."""
    for number, addresses in enumerate(addresses_of_all, 1):
        for address in addresses:
            for key in possible_keys(address):
                yield {"person_id": number, "address_key": key, "address": address}


def list_of(row: Row, *, members: list[str], moderated: list[str], many: dict[str, list[str]]) -> MailingList:
    """Return the list of a row of `lists`, with only the members that may be the sender in question.

    Raises ConfigurationError: if a setting is invalid, which an import would not have written.
    """
    settings: Row = {name: row[name] for name in ONE} | {name: row[name].split() for name in _WORDS} | many
    return MailingList(row["address"], members=members, moderated=moderated, **settings)


def _plain(value: object) -> object:
    """Return `value` in a form that a driver accepts: the text of an enumeration member, and several words as one text."""
    if isinstance(value, tuple):
        return " ".join(value)
    return str(value) if isinstance(value, str) else value


def _entry(number: int, setting: str, entry: str, key: Callable[[str], str]) -> Row:
    row: Row = {"list_id": number, "setting": setting, "entry": entry, "address_key": "", "place_key": None}
    if setting not in ABOUT_SENDERS or entry.startswith("^"):
        return row
    if names_domain(entry):
        return row | {"address_key": domain_key(entry)}
    if entry.startswith("@"):
        return row | {"place_key": path_key(parse_address(entry[1:]))}
    return row | {"address_key": key(entry)}
