"""The directory of a Mailman 3 installation: its lists, members and bans, read from Mailman's database at each look-up."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from threading import Lock
from typing import Protocol

from mailman.config import config
from mailman.interfaces.address import IEmailValidator
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from zope.component import getUtility

from lmtpref.lists.addresses import fold_local, parse_address, spellings
from lmtpref.lists.directory.sql import error_text
from lmtpref.lists.directory.threaded import CONNECTIONS, WAIT_SECONDS, ThreadedDirectory
from lmtpref.lists.forecast import Forecast
from lmtpref.lists.mailinglist import STRANGER, DirectoryError, Judge, Lookup, MailingList, Standing
from lmtpref.mailman.forecast import forecast_post, load_rules
from lmtpref.mailman.interface_reader import interface_reader
from lmtpref.mailman.judging import Judges
from lmtpref.mailman.moderation import ListSettings, SenderRecords, mailing_list, standing_of
from lmtpref.mailman.recipients import split_local_part
from lmtpref.mailman.settings import RunnerSettings
from lmtpref.mailman.table_reader import REVISIONS, table_reader
from lmtpref.protocol.syntax import Path

log = logging.getLogger(__name__)


class Reader(Protocol):
    """The source of Mailman's records for one question.  Addresses, names and domains are in lower case."""

    def lists_at(self, names: Iterable[str], domain: str) -> dict[str, ListSettings]:
        """Return the lists with these names at `domain`, or at the domain that it is an alias of."""

    def serves(self, domain: str) -> bool:
        """Return whether there is a list at `domain`, or at the domain that it is an alias of."""

    def records(self, sender: str, settings: ListSettings) -> SenderRecords:
        """Return the records of a list about `sender`."""


Readers = Callable[[], AbstractContextManager[Reader]]


class MailmanLists:
    """A `ListDirectory` over the database of the Mailman that this process has initialized, for the caller's thread.

    `readers` None means those for the database's schema.  Raises DirectoryError: if the database does not answer.
    """

    def __init__(self, judge: Judge = Judge.ENVELOPE_OR_FROM, *, readers: Readers | None = None) -> None:
        self.judge = judge
        self._readers = readers
        self._choosing = Lock()

    def look_up(self, recipient: Path, sender: Path | None) -> Lookup:
        """Look up `recipient`, and the standing of `sender` at that list."""
        with self._reader() as reader:
            readings = split_local_part(recipient.local, config.mta.verp_delimiter)
            for domain in _domains(recipient):
                found = reader.lists_at({reading.name: None for reading in readings}, domain)
                for name, subaddress, detail in readings:
                    if settings := found.get(name):
                        standing = STRANGER if subaddress else _standing(reader, sender, settings)
                        return Lookup(mailing_list(settings, self.judge), subaddress, detail, standing, served=True)
            return Lookup(served=any(map(reader.serves, _domains(recipient))))

    def find(self, address: str | Path) -> MailingList | None:
        """Return the list with the posting address `address`, without its members; None without one."""
        path = parse_address(address) if isinstance(address, str) else address
        name = fold_local(path.local)
        with self._reader() as reader:
            for domain in _domains(path):
                if settings := reader.lists_at([name], domain).get(name):
                    return mailing_list(settings, self.judge)
        return None

    def close(self) -> None:
        """Do nothing: the connections are Mailman's."""

    @contextmanager
    def _reader(self) -> Iterator[Reader]:
        try:
            with self._chosen()() as reader:
                yield reader
        except SQLAlchemyError as error:
            raise DirectoryError(error_text(error)) from None

    def _chosen(self) -> Readers:
        with self._choosing:
            if self._readers is None:
                self._readers = _readers_for_schema()
            return self._readers


class MailmanDirectory(ThreadedDirectory):
    """`MailmanLists` for an event loop.

    `judge` says whose right to post counts: with `envelope-or-from`, as in Mailman, the header senders' too.
    """

    def __init__(
        self, *, judge: Judge = Judge.ENVELOPE_OR_FROM, wait_seconds: float = WAIT_SECONDS, connections: int = CONNECTIONS
    ) -> None:
        super().__init__(MailmanLists(judge), wait_seconds=wait_seconds, connections=connections)
        self._runner = RunnerSettings()

    def start_forecasts(self) -> None:
        """Load Mailman's rules, and start the process that asks them; call it before this process has threads.

        Raises ConfigurationError: if the configuration of the runner is wrong.
        """
        self._runner = load_rules()
        _judges(self.wait_seconds)

    async def forecast(self, recipient: Path, sender: Path | None, content: bytes) -> Forecast | None:
        """Return what Mailman's own posting chain will do with a post; None if `recipient` is not a list's posting address.

        Raises DirectoryError: if there is no answer in time.
        """
        arguments = recipient.address, sender.address if sender else "", content, self._runner.judge, self._runner.discard
        try:
            return await _judges(self.wait_seconds).ask(*arguments)
        except TimeoutError:
            raise DirectoryError(f"no answer within {self.wait_seconds:g} s") from None


# A process reads one Mailman, so all its directories share the judges.
@lru_cache(maxsize=1)
def _judges(seconds: float) -> Judges[[str, str, bytes, str, str], Forecast | None]:
    return Judges(1, seconds, forecast_post)


def _readers_for_schema() -> Readers:
    """Return the readers for the schema of Mailman's database."""
    with config.db.engine.connect() as connection:
        revision = connection.scalar(text("SELECT version_num FROM alembic_version"))
    if revision in REVISIONS:
        return table_reader
    log.warning("schema %s of Mailman's database is unknown; look-ups use Mailman's slower interfaces", revision)
    return interface_reader


def _domains(path: Path) -> list[str]:
    """Return the spellings of the path's domain that Mailman may have."""
    return list(dict.fromkeys(spelled.rpartition("@")[2].lower() for spelled in spellings(f"@{path.domain}")))


def _standing(reader: Reader, sender: Path | None, settings: ListSettings) -> Standing:
    """Return the sender's standing; Mailman ignores a sender whose address it considers invalid."""
    address = sender.address.lower() if sender else ""
    if not getUtility(IEmailValidator).is_valid(address):
        return STRANGER
    return standing_of(address, settings, reader.records(address, settings))
