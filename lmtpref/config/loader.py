"""The loader of configurations: a TOML file in, a `Configuration` out.  An error names file, line and key."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmtpref.config.configuration import Configuration
from lmtpref.config.host_files import Named
from lmtpref.config.keys import KEYS
from lmtpref.config.members_file import read_members
from lmtpref.config.queue_table import queue_settings
from lmtpref.config.toml import TomlFile, line_of
from lmtpref.lists.addresses import parse_address
from lmtpref.lists.directory.memory import MemoryDirectory
from lmtpref.lists.directory.open_database import names_mailman, open_directory
from lmtpref.lists.mailinglist import ListDirectory, MailingList
from lmtpref.lists.policy.authentication import parse_trust
from lmtpref.lists.policy.rules import Rule
from lmtpref.lists.senders import banned_everywhere
from lmtpref.protocol import endpoints
from lmtpref.protocol.errors import ConfigurationError, UsageError
from lmtpref.protocol.renamed import RENAMED
from lmtpref.protocol.server_limits import Limits
from lmtpref.protocol.settings import Settings

if TYPE_CHECKING:
    pass

log = logging.getLogger(__name__)

CAST = Path(__file__).with_name("cast.toml")


_KINDS = {
    table: {key.name: key.kind for key in KEYS if key.table == table}
    for table in ("server", "spool", "queues", "directory", "maps", "list", "person", "server.listener")
}
_NAMED = frozenset({"unix_group", "tls_certificate", "tls_key", "tls_client_ca"})
_SETTINGS = frozenset(field.name for field in fields(Settings))
_LIMITS = frozenset(field.name for field in fields(Limits))


def load(path: Path | str, *, may_be_empty: bool = True) -> Configuration:
    """Return the configuration in the file `path`.

    Raises ConfigurationError, naming file, line and key, for the first mistake, and unless it `may_be_empty`, for a file without a key.
    """
    file = _File(Path(path))
    if not file.data and not may_be_empty:
        raise ConfigurationError("is empty", file=path)
    return file.configuration()


def load_or_open(name: str, *, may_be_empty: bool = True) -> Configuration:
    """Return the configuration in the file `name`, as `load` does; for `mailman:FILE`, the default one with the lists of that GNU Mailman.

    Raises ConfigurationError: for the first mistake.
    """
    return Configuration(directory=open_directory(Path(), name)) if names_mailman(name) else load(name, may_be_empty=may_be_empty)


def cast() -> Configuration:
    """Return the cast's configuration: ant, bee and cat, in a directory of their own."""
    return load(CAST)


class _File(TomlFile):
    """The parser of one configuration file."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.reported: set[str] = set()  # the keys for which an old word was logged

    def configuration(self) -> Configuration:
        """Return the content of the file."""
        for name in self.data.keys() - _KINDS.keys():
            raise self.error("unknown table or key", None, key=name)
        server = self.data.get("server", {})
        self.check("server", server, table="server")
        listeners = self.listeners(server)
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in server.items() if key != "listener"
        }
        values |= listeners
        self.check_senders(values)
        values |= self.named(server)
        values["rules"] = tuple(self.rule(name) for name in server.get("rules", ()))
        settings = Settings(**{key: values.pop(key) for key in _SETTINGS & values.keys()})
        limits = Limits(**{key: values.pop(key) for key in _LIMITS & values.keys()})
        self.check_room(settings, limits)
        directory = self.database() if "directory" in self.data else self.lists()
        if wait_seconds := self.data.get("directory", {}).get("wait_seconds"):
            values["directory_seconds"] = wait_seconds + 1  # so that the directory's own limit comes first
        return Configuration(
            maildir=self.maildir(),
            **self.queues(),
            maps=self.maps(),
            directory=directory,
            settings=settings,
            limits=limits,
            **values,
        )

    def check_room(self, settings: Settings, limits: Limits) -> None:
        try:
            limits.check(settings)
        except UsageError as error:
            key = next(key for key in ("max_buffered_octets", "max_message_octets", "max_recipients") if key in self.data["server"])
            raise self.error(str(error), "server", key=key) from None

    def listeners(self, server: Mapping[str, Any]) -> dict[str, Any]:
        """Return the listeners with settings of their own; if there are any, there is no default listener."""
        tables = server.get("listener", ())
        for number, table in enumerate(tables):
            self.check(f"server.listener {number}", table, table="server.listener")
            if "address" not in table:
                raise self.error("a listener needs an address", f"server.listener {number}", key="address")
            self.check_tls(table, f"server.listener {number}", server)
            self.check_endpoints([table["address"]], f"server.listener {number}", "address")
        self.check_endpoints(server.get("listen", ()), "server", "listen")
        listeners = tuple({**table, "proxy_from": tuple(table.get("proxy_from", ()))} for table in tables)
        return {"listeners": listeners} | ({"listen": tuple(server.get("listen", ()))} if listeners else {})

    def check_endpoints(self, addresses: Collection[str], header: str, key: str) -> None:
        """Check that a server can listen at `addresses`."""
        try:
            for address in addresses:
                endpoints.parse_address(address)
        except UsageError as error:
            raise self.error(str(error), header, key=key) from None

    def check_senders(self, server: Mapping[str, Any]) -> None:
        try:
            banned_everywhere(server.get("banned_senders", ()))
            parse_trust(server.get("trusted_authserv_id"), server.get("trusted_arc_sealers", ()))
            if owner := server.get("site_owner"):
                parse_address(owner, key="site_owner")
        except ConfigurationError as error:
            raise self.placed(error, "server") from None

    def check_tls(self, table: Mapping[str, Any], header: str, server: Mapping[str, Any]) -> None:
        """Check that the clients from which `table` requires TLS can begin it."""
        if table.get("require_tls", "no") != "no" and "tls_certificate" not in server:
            raise self.error("TLS needs tls_certificate and tls_key", header, key="require_tls")

    def named(self, server: Mapping[str, Any]) -> dict[str, Named]:
        """Return the names that are looked up only when the server starts."""
        for key, other in ("tls_certificate", "tls_key"), ("tls_key", "tls_certificate"):
            if key in server and other not in server:
                raise self.error(f"needs {other} too", "server", key=key)
        self.check_tls(server, "server", server)
        if "tls_client_ca" in server and "tls_certificate" not in server:
            raise self.error("TLS needs tls_certificate and tls_key", "server", key="tls_client_ca")
        if "tls_client_ca" not in server and any(mta.startswith("tls:") for mta in server.get("known_mtas", ())):
            raise self.error("tls:NAME needs tls_client_ca", "server", key="known_mtas")
        return {key: Named(server[key], self.path, line_of(self.text, "server", key), key) for key in _NAMED & server.keys()}

    def maildir(self) -> Path | None:
        table = self.data.get("spool", {})
        self.check("spool", table, table="spool")
        return self.path.parent / table["maildir"] if "maildir" in table else None

    def queues(self) -> dict[str, Any]:
        table = self.data.get("queues", {})
        self.check("queues", table, table="queues")
        try:
            return queue_settings(table, self.path.parent, has_spool="maildir" in self.data.get("spool", {})) if table else {}
        except ConfigurationError as error:
            raise self.placed(error, "queues") from None

    def maps(self) -> dict[str, Any]:
        table = self.data.get("maps", {})
        self.check("maps", table, table="maps")
        self.check_endpoints([table["next_hop"]] if "next_hop" in table else [], "maps", "next_hop")
        return table | {"out": self.path.parent / table["out"]} if "out" in table else dict(table)

    def rule(self, name: str) -> Rule[Any]:
        """Return the rule at the place in `name`."""
        module, _, attribute_name = name.partition(":")
        try:
            found = getattr(import_module(module), attribute_name)
        # A module without `if __name__ == "__main__"` may end the process.
        except (Exception, SystemExit) as error:
            problem = f"its module raises SystemExit({error.code!r})" if isinstance(error, SystemExit) else error
            raise self.error(f"{name!r} cannot be imported: {problem}", "server", key="rules") from error
        if not isinstance(found, Rule):
            raise self.error(f"not a rule, made by @at(stage): {name!r}", "server", key="rules")
        return found

    def database(self) -> ListDirectory:
        table = self.data["directory"]
        self.check("directory", table, table="directory")
        for name in ("list", "person"):
            if name in self.data:
                raise self.error(f"{name}s are in this file or in a database, not in both", f"{name} 0", key=name)
        try:
            return open_directory(self.path.parent, **table)
        except ConfigurationError as error:
            raise self.placed(error, "directory") from None

    def lists(self) -> MemoryDirectory:
        directory = MemoryDirectory()
        for header, table in self.tables("list"):
            self.add_list(directory, header, table)
        for header, table in self.tables("person"):
            self.add_person(directory, header, table)
        for number, mailing_list in enumerate(directory):
            self.check_other_lists(directory, f"list {number}", mailing_list)
            if mailing_list.path.is_postmaster:
                problem = "this list receives no posts, because mail to postmaster belongs to no list (RFC 5321 section 4.5.1)"
                log.warning("%s", self.error(problem, f"list {number}", key="address"))
            for address, other in directory.shadowed_by(mailing_list).items():
                problem = f"this list receives the mail to {address}, a sub-address of {other.address}"
                log.warning("%s", self.error(problem, f"list {number}", key="address"))
        return directory

    def tables(self, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield each table [[name]], with its key for `line_of`."""
        tables = self.data.get(name, [])
        if not isinstance(tables, list):
            raise self.error(f"{name}s are written [[{name}]]", name, key=name)
        return ((f"{name} {number}", table) for number, table in enumerate(tables))

    def add_person(self, directory: MemoryDirectory, header: str, table: dict[str, Any]) -> None:
        self.check(header, table, table="person")
        if "addresses" not in table:
            raise self.error("a person needs addresses", header, key="addresses")
        try:
            directory.persons.add(table["addresses"])
        except ConfigurationError as error:
            raise self.placed(error, header) from None

    def add_list(self, directory: MemoryDirectory, header: str, table: dict[str, Any]) -> None:
        self.check(header, table, table="list")
        if "address" not in table:
            raise self.error("a list needs an address", header, key="address")
        values = dict(table)
        if "members_file" in values:
            values["members"] = [*values.get("members", ()), *self.members(header, values.pop("members_file"))]
        try:
            directory.add(MailingList(**values))
        except ConfigurationError as error:
            raise self.placed(error, header) from None

    def members(self, header: str, name: str) -> Collection[str]:
        """Return the addresses in a members_file."""
        try:
            return read_members(self.path.parent / name)
        except ConfigurationError as error:
            if error.line is not None:
                raise
            raise self.error(str(error), header, key="members_file") from None

    def check_other_lists(self, directory: MemoryDirectory, header: str, mailing_list: MailingList) -> None:
        for key, senders in (("accept_these_nonmembers", mailing_list.allowed_nonmembers), ("banned", mailing_list.banned_senders)):
            for other in senders.lists:
                if directory.find(other.address) is None:
                    raise self.error(f"there is no list {other.address!r}", header, key=key)

    def check(self, header: str, values: object, *, table: str) -> None:
        """Check that every key of `values` belongs to `table`, and that its value has the right kind."""
        if not isinstance(values, dict):
            raise self.error(f"a table is needed: [{table}]", None, key=table)
        self.use_current_words(header, values)
        for key, value in values.items():
            kind = _KINDS[table].get(key)
            if kind is None:
                raise self.error(f"unknown key in [{table}]", header, key=key)
            if not kind.fits(value):
                raise self.error(f"must be {kind.words}, not {value!r}", header, key=key)

    def use_current_words(self, header: str, values: dict[str, Any]) -> None:
        """Replace old words by the current ones; log the first use of each, with file and line."""
        for key, value in values.items():
            if isinstance(value, str) and (new := RENAMED.get((key, value))):
                if key not in self.reported:
                    log.warning("%s", self.error(f"{value!r} is now called {new!r}", header, key=key))
                self.reported.add(key)
                values[key] = new

    def placed(self, error: ConfigurationError, header: str) -> ConfigurationError:
        return self.error(error.problem, header, key=error.key or "")
