"""A directory of lists in a database, whose members are never read into memory."""

from __future__ import annotations

from functools import lru_cache
from itertools import chain
from typing import Any

from sqlalchemy import URL, BindParameter, Engine, bindparam, create_engine, select
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from lmtpref.lists.addresses import domain_keys, parse_address, parse_local_part
from lmtpref.lists.database_url import parse_database_url
from lmtpref.lists.directory.memory import MemoryDirectory
from lmtpref.lists.directory.tables import (
    MANY,
    Row,
    entries,
    list_of,
    lists,
    members,
    path_key,
    persons,
    place_key,
    places,
)
from lmtpref.lists.directory.threaded import CONNECTIONS, WAIT_SECONDS, ThreadedDirectory
from lmtpref.lists.mailinglist import DirectoryError, Lookup, MailingList
from lmtpref.lists.persons import NOBODY, Persons
from lmtpref.lists.queues.url import masked
from lmtpref.lists.senders import possible_keys
from lmtpref.protocol.domains import a_labels
from lmtpref.protocol.errors import ConfigurationError, UsageError
from lmtpref.protocol.syntax import Path

# Lists that are made once for all questions whose rows are equal.
MAX_LISTS = 1_024

_other = places.alias("other")
_other_lists = lists.alias("other_lists")
_others_members = members.alias("others_members")
_keys: BindParameter[list[str]] = bindparam("keys", expanding=True)
_senders: BindParameter[list[str]] = bindparam("senders", expanding=True)
_senders_or_all: BindParameter[list[str]] = bindparam("senders_or_all", expanding=True)

# This is one statement, so that a concurrent import cannot mix an old list with a new one.
QUESTION = (
    select(
        lists,
        places.c.address_key,
        members.c.address.label("member"),
        members.c.moderated,
        entries.c.setting,
        entries.c.entry,
        _others_members.c.address.label("others_member"),
        _other_lists.c.normalise.label("others_normalise"),
        _other_lists.c.subaddresses.label("others_subaddresses"),
    )
    .select_from(places)
    .join(lists, lists.c.id == places.c.list_id)
    .outerjoin(members, (members.c.list_id == lists.c.id) & members.c.address_key.in_(_senders))
    .outerjoin(entries, (entries.c.list_id == lists.c.id) & entries.c.address_key.in_(_senders_or_all))
    .outerjoin(_other, _other.c.address_key == entries.c.place_key)
    .outerjoin(_other_lists, _other_lists.c.id == _other.c.list_id)
    .outerjoin(_others_members, (_others_members.c.list_id == _other.c.list_id) & _others_members.c.address_key.in_(_senders))
    .where(places.c.address_key.in_(_keys))
)
_others_addresses = persons.alias("others_addresses")
PERSONS = (
    select(_others_addresses.c.person_id, _others_addresses.c.address)
    .join(persons, persons.c.person_id == _others_addresses.c.person_id)
    .where(persons.c.address_key.in_(_senders))
)
SERVED = select(places.c.list_id).where(places.c.domain_key == bindparam("domain")).limit(1)


class SqlLists:
    """A `ListDirectory` over a database, which works in the caller's thread.  Safe to call from several threads.

    One statement reads all rows that can concern a recipient and a sender; a `MemoryDirectory` of these rows answers.

    Raises DirectoryError: if the database does not answer, or has unreadable data.
    """

    def __init__(self, url: str | URL, *, connections: int = CONNECTIONS, wait_seconds: float = WAIT_SECONDS) -> None:
        self.engine = engine_of(
            url,
            pool_size=connections,
            max_overflow=0,
            pool_timeout=wait_seconds,
            # After a restart of the database, the ping fails and not the query.
            pool_pre_ping=True,
            # A query is one statement and needs no transaction.
            isolation_level="AUTOCOMMIT",
        )

    def look_up(self, recipient: Path, sender: Path | None) -> Lookup:
        """Look up `recipient`, and the standing of `sender` at that list."""
        keys = [place_key(candidate.name, recipient.domain) for candidate in parse_local_part(recipient.local)]
        known = self._persons(sender) if sender else NOBODY
        rows = self._ask(keys, {sender.address, *chain(*known)} if sender else set()) if keys else []
        if rows:
            return _directory(rows, known).look_up(recipient, sender)
        return Lookup(served=bool(self._rows(SERVED, domain=a_labels(recipient.domain))), persons=known)

    def find(self, address: str | Path) -> MailingList | None:
        """Return the list with the posting address `address`, without its members; None without one."""
        path = parse_address(address) if isinstance(address, str) else address
        rows = self._ask([path_key(path)], set())
        return _directory(rows).find(path)

    def close(self) -> None:
        """Close idle connections now, and the others when they are returned to the pool."""
        self.engine.dispose()

    def _persons(self, sender: Path) -> Persons:
        """Return the persons that may have the address of `sender`: one, unless lists normalise differently."""
        addresses: dict[int, dict[str, None]] = {}
        for row in self._rows(PERSONS, senders=possible_keys(sender.address)):
            addresses.setdefault(row["person_id"], {})[row["address"]] = None
        try:
            return Persons(addresses.values())
        except ConfigurationError as error:
            raise DirectoryError(str(error)) from error

    def _ask(self, keys: list[str], addresses: set[str]) -> list[Row]:
        """Return the rows that concern the lists at `keys` and a sender with these addresses."""
        senders = sorted({key for address in addresses for key in possible_keys(address)})
        domains = sorted({key for address in addresses for key in domain_keys(address)})
        return self._rows(QUESTION, keys=keys, senders=senders, senders_or_all=["", *senders, *domains])

    def _rows(self, statement: Any, **parameters: object) -> list[Row]:  # noqa: ANN401 - a Select of any columns
        try:
            with self.engine.connect() as connection:
                return [dict(row) for row in connection.execute(statement, parameters).mappings()]
        except SQLAlchemyError as error:
            # The text is sufficient; a traceback of the pool would not help.
            raise DirectoryError(error_text(error)) from None


class SqlDirectory(ThreadedDirectory):
    """`SqlLists` for an event loop.

    Raises ConfigurationError, with `url` as its key: if the URL cannot be used.
    """

    def __init__(self, url: str | URL, *, wait_seconds: float = WAIT_SECONDS, connections: int = CONNECTIONS) -> None:
        lists = SqlLists(url, connections=connections, wait_seconds=wait_seconds)
        super().__init__(lists, wait_seconds=wait_seconds, connections=connections)


def engine_of(url: str | URL, **arguments: Any) -> Engine:  # noqa: ANN401 - as create_engine has them
    """Return the engine for `url`.

    Raises ConfigurationError, with the key `url`: if the URL is invalid, or its driver is not installed.
    """
    try:
        parsed = parse_database_url(url)
        if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
            raise ConfigurationError("a SQLite database needs a file: sqlite:///FILE", key="url")
        return create_engine(parsed, **arguments)
    except ArgumentError:  # including NoSuchModuleError
        raise ConfigurationError(f"not a database URL that SQLAlchemy knows: {masked(str(url)).partition('://')[0]!r}", key="url") from None
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"the driver {error.name!r} is not installed", key="url") from None
    except UsageError as error:
        raise error if isinstance(error, ConfigurationError) else ConfigurationError(str(error), key="url") from None


def error_text(error: SQLAlchemyError) -> str:
    """Return the first line of a database's error message, without the statement and its parameters."""
    first, *_ = str(getattr(error, "orig", None) or error).splitlines() or [type(error).__name__]
    return first


def _directory(rows: list[Row], known: Persons = NOBODY) -> MemoryDirectory:
    """Return a directory of the lists in `rows`, and of the lists they refer to that may have the sender as a member."""
    by_list: dict[int, list[Row]] = {}
    for row in rows:
        by_list.setdefault(row["id"], []).append(row)
    directory = MemoryDirectory((_list(of_list) for of_list in by_list.values()), persons=known)
    others: dict[str, list[Row]] = {}
    for row in rows:
        if row["others_member"]:
            others.setdefault(row["entry"][1:], []).append(row)
    for address, rows_of_other in others.items():
        if directory.find(address) is None:
            directory.add(_other_list(address, rows_of_other))
    return directory


def _other_list(address: str, rows: list[Row]) -> MailingList:
    """Return the list `address`, to which other lists refer, with the members that may be the sender."""
    known = list(dict.fromkeys(row["others_member"] for row in rows))
    settings: Row = {"normalise": rows[0]["others_normalise"].split(), "subaddresses": rows[0]["others_subaddresses"]}
    return MailingList(address, members=known, **settings)


def _list(rows: list[Row]) -> MailingList:
    """Return the list of `rows`; equal rows make one list, which is immutable and knows the rules that its posts need."""
    return _list_of_values(tuple(rows[0]), tuple([tuple(row.values()) for row in rows]))


@lru_cache(maxsize=MAX_LISTS)
def _list_of_values(columns: tuple[str, ...], values: tuple[tuple[Any, ...], ...]) -> MailingList:
    rows: list[Row] = [dict(zip(columns, row, strict=True)) for row in values]
    first = rows[0]
    many = {name: list(dict.fromkeys(row["entry"] for row in rows if row["setting"] == name)) for name in MANY}
    try:
        known = {row["member"]: row["moderated"] for row in rows if row["member"]}
        return list_of(first, members=list(known), moderated=[member for member, moderated in known.items() if moderated], many=many)
    except ConfigurationError as error:
        raise DirectoryError(f"{first['address']}: {error}") from error
