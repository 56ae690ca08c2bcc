"""TOML -> settings and lists.  What is wrong with a file is told with file, line and key."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields
from dataclasses import field as attribute
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from lmtpref.lists.acceptance import DEFAULT_POLICY, Policy
from lmtpref.lists.directory.database import open_database
from lmtpref.lists.directory.memory import MemoryDirectory
from lmtpref.lists.handler import DIRECTORY_SECONDS, ListHandler, banned_everywhere
from lmtpref.lists.queues import Queues
from lmtpref.lists.roster import ListDirectory, MailingList, parse_address
from lmtpref.lists.rules import Rule
from lmtpref.lists.toml import line_of, read_text, read_toml
from lmtpref.protocol.errors import ConfigurationError
from lmtpref.protocol.settings import Settings

CAST = Path(__file__).with_name("cast.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """What a configuration file says.

    `known_mtas` holds networks and host names; None stands for loopback only.
    """

    listen: tuple[str, ...] = ("127.0.0.1:8024",)
    site_owner: str = ""
    known_mtas: tuple[str, ...] | None = None
    allow_remote: bool = False
    banned_senders: tuple[str, ...] = ()
    directory_seconds: float = DIRECTORY_SECONDS
    rules: Policy = ()
    maildir: Path | None = None  # where the spool is; without one, messages are kept in memory
    maps: Mapping[str, Any] = attribute(default_factory=dict)  # what [maps] says, for `lmtpref maps`
    settings: Settings = attribute(default_factory=Settings)
    limits: Mapping[str, Any] = attribute(default_factory=dict)  # what [server] says of the limits of connections
    directory: ListDirectory = attribute(default_factory=MemoryDirectory)

    def handler(self, queues: Queues) -> ListHandler:
        """The handler that answers for these lists, and puts what was accepted into `queues`."""
        return ListHandler(
            self.directory,
            queues,
            hostname=self.settings.hostname,
            site_owner=self.site_owner,
            banned_senders=self.banned_senders,
            directory_seconds=self.directory_seconds,
            policy=(*self.rules, *DEFAULT_POLICY),
        )

    def close(self) -> None:
        """Let go of the connections and threads that the directory has, if any; asked again, it has new ones."""
        if close := getattr(self.directory, "close", None):
            close()


class Kind(NamedTuple):
    """What a key's value must be: in words, and as a test."""

    words: str
    fits: Callable[[Any], bool]
    choices: tuple[str, ...] = ()

    @classmethod
    def one_of(cls, *values: str) -> Kind:
        """One of these strings."""
        return cls("one of " + ", ".join(values), lambda value: value in values, values)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


TEXT = Kind("a string", lambda value: isinstance(value, str))
TEXTS = Kind("a list of strings", lambda value: isinstance(value, list) and all(isinstance(item, str) for item in value))
FLAG = Kind("true or false", lambda value: isinstance(value, bool))
OCTETS = Kind("a number of octets, above 0", _is_count)
COUNT = Kind("a number above 0", _is_count)
SECONDS = Kind("a number of seconds, above 0, at most a year", lambda value: type(value) in {int, float} and 0 < value <= 31_536_000)
TEXT_LINE = Kind("a number of octets, 1000 or more", lambda value: _is_count(value) and value >= 1000)  # RFC 5321 section 4.5.3.1.6
RECIPIENTS = Kind("a number, 100 or more", lambda value: _is_count(value) and value >= 100)  # RFC 5321 section 4.5.3.1.8
NEWLINES = Kind('"refuse" or "keep"', lambda value: value in ("refuse", "keep"))
MTA = Kind.one_of("postfix", "exim", "sendmail")
MAP_TYPE = Kind.one_of("regexp", "pcre", "texthash", "hash", "lmdb")
MAP_CLASS = Kind.one_of("relay", "local", "mailbox", "virtual")


class Key(NamedTuple):
    """A key of the file: its table, its name, what it holds, and what it means."""

    table: str
    name: str
    kind: Kind
    meaning: str


KEYS = (
    Key("server", "listen", TEXTS, "where to listen: HOST:PORT, or unix:PATH"),
    Key("server", "hostname", TEXT, "the server's name, in its greeting and in trace lines"),
    Key("server", "site_owner", TEXT, "the sender of what a list's owners are sent (envsender)"),
    Key("server", "known_mtas", TEXTS, "networks and host names of the MTAs that may send; absent: loopback only"),
    Key("server", "allow_remote", FLAG, "whether to listen on other addresses than loopback; needs known_mtas"),
    Key("server", "banned_senders", TEXTS, "senders banned from all lists; ^pattern"),
    Key("server", "rules", TEXTS, "rules of your own, package.module:name, asked before the others of their stage"),
    Key("server", "max_message_octets", OCTETS, "the largest message"),
    Key("server", "max_recipients", RECIPIENTS, "the most recipients in one transaction"),
    Key("server", "max_errors", COUNT, "the most mistakes a client may make on one connection"),
    Key("server", "max_text_line_octets", TEXT_LINE, "the longest line of a message, CRLF included; absent: no limit"),
    Key("server", "max_connections", COUNT, "the most connections at once"),
    Key("server", "idle_seconds", SECONDS, "how long to wait for a whole command, or an octet of a message"),
    Key("server", "transaction_seconds", SECONDS, "how long a client may take for one transaction"),
    Key("server", "hook_seconds", SECONDS, "how long to wait for a verdict, or for a message to be kept, before 451 4.3.0"),
    Key("server", "max_buffered_octets", OCTETS, "the most octets of all messages under way"),
    Key("server", "bare_newlines", NEWLINES, "what to do with a message that has a CR or LF alone"),
    Key("spool", "maildir", TEXT, "the folder of the spool, beside this file; absent: messages are kept in memory"),
    Key("directory", "url", TEXT, "the database that has the lists, instead of [[list]]; a SQLite file is beside this file"),
    Key("directory", "wait_seconds", SECONDS, "how long to wait for its answer, before the sender is told to try again"),
    Key("directory", "connections", COUNT, "how many of its connections to use at once"),
    Key("maps", "mta", MTA, "the MTA whose maps are made when the server starts, and at SIGHUP"),
    Key("maps", "out", TEXT, "the folder that they are written to, beside this file"),
    Key("maps", "next_hop", TEXT, "where the MTA finds the server, HOST:PORT or unix:PATH; absent: the first address of listen"),
    Key("maps", "service", TEXT, "Postfix: which service of master.cf delivers"),
    Key("maps", "type", MAP_TYPE, "Postfix: the kind of table"),
    Key("maps", "class", MAP_CLASS, "Postfix: the class of the lists' domains"),
    Key("maps", "then", TEXT, "a command, for the shell, that is run when a map has changed"),
    Key("list", "address", TEXT, "the list's own address"),
    Key("list", "alias_domains", TEXTS, "other domains at which it has the same name"),
    Key("list", "members", TEXTS, "its members"),
    Key("list", "members_file", TEXT, "a file with a member's address on each line, beside this file"),
    Key("list", "moderated", TEXTS, "members whose posts are held"),
    Key("list", "reject_moderated", FLAG, "whether the posts of moderated members are refused instead"),
    Key("list", "accept_these_nonmembers", TEXTS, "other senders that may post; ^pattern; @other-list: that list's members"),
    Key("list", "banned", TEXTS, "senders that may not post, members or not; ^pattern; @other-list"),
    Key("list", "generic_nonmember_action", TEXT, "accept, hold, reject or discard: the posts of everybody else"),
    Key("list", "null_sender", TEXT, "refuse, hold or accept: posts from <>"),
    Key("list", "judge", TEXT, "envelope or envelope-or-from: whose right to post counts"),
    Key("list", "unvouched", TEXT, "hold, refuse or discard: posts of senders it does not know, if their content is refused"),
    Key("list", "emergency", FLAG, "whether every post is held"),
    Key("list", "retired", FLAG, "whether no post is taken any more"),
    Key("list", "require_from", FLAG, "whether a post without a From is refused"),
    Key("list", "max_message_octets", OCTETS, "the largest post; absent: the server's limit alone"),
)
_KINDS = {table: {key.name: key.kind for key in KEYS if key.table == table} for table in ("server", "spool", "directory", "maps", "list")}
_SETTINGS = frozenset(field.name for field in fields(Settings))
_LIMITS = frozenset({"max_connections", "idle_seconds", "transaction_seconds", "hook_seconds", "max_buffered_octets"})


def load(path: Path | str) -> Configuration:
    """The configuration in the file `path`.  Raises ConfigurationError, naming file, line and key, for the first mistake."""
    return _File(Path(path)).configuration()


def cast() -> Configuration:
    """The cast's configuration: ant, bee and cat, in a directory of their own."""
    return load(CAST)


class _File:
    """One configuration file while it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text, self.data = read_toml(path)

    def configuration(self) -> Configuration:
        """What the file says."""
        for name in self.data.keys() - _KINDS.keys():
            raise self.error("unknown table or key", None, key=name)
        server = self.data.get("server", {})
        self.check("server", server, table="server")
        values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in server.items()}
        self.check_senders(values)
        values["rules"] = tuple(self.rule(name) for name in server.get("rules", ()))
        directory = self.database() if "directory" in self.data else self.lists()
        if wait_seconds := self.data.get("directory", {}).get("wait_seconds"):
            values["directory_seconds"] = wait_seconds + 1  # so that its own limit comes first
        return Configuration(
            maildir=self.maildir(),
            maps=self.maps(),
            directory=directory,
            settings=Settings(**{key: values.pop(key) for key in _SETTINGS & values.keys()}),
            limits={key: values.pop(key) for key in _LIMITS & values.keys()},
            **values,
        )

    def check_senders(self, server: Mapping[str, Any]) -> None:
        try:
            banned_everywhere(server.get("banned_senders", ()))
            if owner := server.get("site_owner"):
                parse_address(owner, key="site_owner")
        except ConfigurationError as error:
            raise self.placed(error, "server") from None

    def maildir(self) -> Path | None:
        table = self.data.get("spool", {})
        self.check("spool", table, table="spool")
        return self.path.parent / table["maildir"] if "maildir" in table else None

    def maps(self) -> dict[str, Any]:
        table = self.data.get("maps", {})
        self.check("maps", table, table="maps")
        return table | {"out": self.path.parent / table["out"]} if "out" in table else dict(table)

    def rule(self, name: str) -> Rule[Any]:
        """The rule that `name` says where to find."""
        module, _, attribute_name = name.partition(":")
        try:
            found = getattr(import_module(module), attribute_name)
        except Exception as error:
            raise self.error(f"{name!r} cannot be imported: {error}", "server", key="rules") from error
        if not isinstance(found, Rule):
            raise self.error(f"not a rule, made by @at(stage): {name!r}", "server", key="rules")
        return found

    def database(self) -> ListDirectory:
        table = self.data["directory"]
        self.check("directory", table, table="directory")
        if "list" in self.data:
            raise self.error("lists stand here or in a database, not in both", "list 0", key="list")
        try:
            return open_database(self.path.parent, **table)
        except ConfigurationError as error:
            raise self.placed(error, "directory") from None

    def lists(self) -> MemoryDirectory:
        tables = self.data.get("list", [])
        if not isinstance(tables, list):
            raise self.error("lists are written [[list]]", "list", key="list")
        directory = MemoryDirectory()
        for number, table in enumerate(tables):
            self.add_list(directory, f"list {number}", table)
        for number, mailing_list in enumerate(directory):
            self.check_other_lists(directory, f"list {number}", mailing_list)
        return directory

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
        """The addresses in a members_file: one on each line; blank lines and what follows `#` do not count."""
        file = self.path.parent / name
        try:
            lines = read_text(file).splitlines()
        except ConfigurationError as error:
            raise self.error(str(error), header, key="members_file") from None
        numbered = ((number, line.partition("#")[0].strip()) for number, line in enumerate(lines, 1))
        members = [(number, address) for number, address in numbered if address]
        for number, address in members:
            try:
                parse_address(address)
            except ConfigurationError as error:
                raise ConfigurationError(error.problem, file=file, line=number, key="members_file") from None
        return [address for _, address in members]

    def check_other_lists(self, directory: MemoryDirectory, header: str, mailing_list: MailingList) -> None:
        for key, senders in (("accept_these_nonmembers", mailing_list.nonmembers), ("banned", mailing_list.outlaws)):
            for other in senders.lists:
                if directory.find(other.address) is None:
                    raise self.error(f"there is no list {other.address!r}", header, key=key)

    def check(self, header: str, values: object, *, table: str) -> None:
        """Return if every key of `values` is one of `table`'s, and its value of the right kind."""
        if not isinstance(values, dict):
            raise self.error(f"a table is needed: [{table}]", None, key=table)
        for key, value in values.items():
            kind = _KINDS[table].get(key)
            if kind is None:
                raise self.error(f"unknown key in [{table}]", header, key=key)
            if not kind.fits(value):
                raise self.error(f"must be {kind.words}, not {value!r}", header, key=key)

    def placed(self, error: ConfigurationError, header: str) -> ConfigurationError:
        return self.error(error.problem, header, key=error.key or "")

    def error(self, problem: str, header: str | None, *, key: str) -> ConfigurationError:
        return ConfigurationError(problem, file=self.path, line=line_of(self.text, header, key), key=key)
