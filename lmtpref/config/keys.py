"""Every key of a configuration: its table, its name, the kind of its value, and its meaning."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network
from typing import Any, NamedTuple

from lmtpref.lists.senders import NORMALISATIONS
from lmtpref.protocol.syntax import is_hostname

# RFC 1870 section 3 allows 20 digits, and the integers of a database hold any number of 18.
MAX_OCTETS = 10**18


class Kind(NamedTuple):
    """A kind of value: its description, and its test."""

    words: str
    fits: Callable[[Any], bool]
    choices: tuple[str, ...] = ()

    @classmethod
    def one_of(cls, *values: str) -> Kind:
        """Return the kind whose values are these strings."""
        return cls("one of " + ", ".join(values), lambda value: value in values, values)


def _are_networks(values: object) -> bool:
    try:
        # ip_network takes a number for an address.
        return isinstance(values, list) and bool(values) and all(isinstance(value, str) and ip_network(value) for value in values)
    except ValueError:
        return False


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


TEXT = Kind("a string", lambda value: isinstance(value, str))
TEXTS = Kind("a list of strings", lambda value: isinstance(value, list) and all(isinstance(item, str) for item in value))
TABLES = Kind("a list of tables", lambda value: isinstance(value, list) and all(isinstance(item, dict) for item in value))
NETWORKS = Kind("a list of networks, such as 192.0.2.0/24", _are_networks)
HOSTNAME = Kind("a host name", lambda value: isinstance(value, str) and is_hostname(value))
FLAG = Kind("true or false", lambda value: isinstance(value, bool))
OCTETS = Kind("a number of octets, above 0, of at most 18 digits", lambda value: _is_count(value) and value < MAX_OCTETS)
COUNT = Kind("a number above 0", _is_count)
WORKERS = Kind("a number from 1 to 256", lambda value: _is_count(value) and value <= 256)
SECONDS = Kind("a number of seconds, above 0, at most a year", lambda value: type(value) in {int, float} and 0 < value <= 31_536_000)
PERIOD = Kind("a number of seconds, 0 or more, at most a year", lambda value: type(value) in {int, float} and 0 <= value <= 31_536_000)
TEXT_LINE = Kind("a number of octets, 1000 or more", lambda value: _is_count(value) and value >= 1000)  # RFC 5321 section 4.5.3.1.6
RECIPIENTS = Kind("a number, 100 or more", lambda value: _is_count(value) and value >= 100)  # RFC 5321 section 4.5.3.1.8
NEWLINES = Kind('"reject" or "keep"', lambda value: value in ("reject", "keep"))
REJECT_AT = Kind.one_of("mail", "rcpt")
NORMALISE = Kind('a list of words: "batv"', lambda value: isinstance(value, list) and all(word in NORMALISATIONS for word in value))
REQUIRE_TLS = Kind.one_of("no", "remote", "yes")
JUDGE = Kind.one_of("envelope", "envelope-or-from")
MTA = Kind.one_of("postfix", "exim", "sendmail")
MAP_TYPE = Kind.one_of("regexp", "pcre", "texthash", "hash", "lmdb")
MAP_CLASS = Kind.one_of("relay", "local", "mailbox", "virtual")


class Key(NamedTuple):
    """A key of the file: its table, its name, the kind of its value, and its meaning."""

    table: str
    name: str
    kind: Kind
    meaning: str


KEYS = (
    Key("server", "listen", TEXTS, "where to listen: HOST:PORT, or unix:PATH"),
    Key("server", "listener", TABLES, "tables [[server.listener]], for listeners with settings of their own"),
    Key("server.listener", "address", TEXT, "where to listen: HOST:PORT, or unix:PATH"),
    Key("server.listener", "proxy_from", NETWORKS, "networks of load balancers, which begin each connection with a PROXY header"),
    Key("server.listener", "require_tls", REQUIRE_TLS, "which clients of this listener must start TLS; absent: the setting of [server]"),
    Key("server", "hostname", HOSTNAME, "the server's name, in its greeting and in trace lines"),
    Key("server", "site_owner", TEXT, "the envelope sender of messages to a list's owners (envsender)"),
    Key("server", "known_mtas", TEXTS, "networks, host names and tls:NAME of the MTAs that may send; absent: loopback only"),
    Key("server", "allow_remote", FLAG, "whether to listen on addresses other than loopback; needs known_mtas"),
    Key("server", "workers", WORKERS, "the number of server processes; more than one needs [spool] or [queues]"),
    Key("server", "unix_group", TEXT, "the group that may use the Unix sockets; absent: the group of the process"),
    Key("server", "tls_certificate", TEXT, "the file with the certificate and its chain, relative to this file; absent: no STARTTLS"),
    Key("server", "tls_key", TEXT, "the file with the private key, relative to this file"),
    Key("server", "tls_client_ca", TEXT, "the file with the CA of client certificates, relative to this file; for tls:NAME in known_mtas"),
    Key("server", "require_tls", REQUIRE_TLS, "which clients must start TLS; remote: all except loopback and Unix sockets"),
    Key("server", "banned_senders", TEXTS, "senders banned from all lists; @domain; @*.domain; ^pattern"),
    Key("server", "reject_banned_at", REJECT_AT, "the command at which to reject them: mail, or rcpt so that they can write to postmaster"),
    Key("server", "normalise", NORMALISE, "which rewritten spellings of banned_senders are banned too"),
    Key("server", "subaddresses", FLAG, "whether a ban of name applies to name+detail too"),
    Key("server", "trusted_authserv_id", TEXT, "the MTA whose Authentication-Results a header sender needs; absent: any header counts"),
    Key("server", "trusted_arc_sealers", TEXTS, "domains whose ARC seals count, if that MTA found the chain valid"),
    Key("server", "rules", TEXTS, "your own rules, package.module:name, which run before the others of their stage"),
    Key("server", "max_message_octets", OCTETS, "the largest message"),
    Key("server", "max_recipients", RECIPIENTS, "the most recipients in one transaction"),
    Key("server", "max_errors", COUNT, "the most errors of a client on one connection"),
    Key("server", "max_text_line_octets", TEXT_LINE, "the longest line of a message, CRLF included; absent: no limit"),
    Key("server", "max_connections", COUNT, "the most connections at once"),
    Key("server", "max_peer_connections", COUNT, "the most connections at once from one address that is not a known MTA's"),
    Key("server", "idle_seconds", SECONDS, "how long to wait for a complete command, or for an octet of a message"),
    Key("server", "transaction_seconds", SECONDS, "how long a client may take for one transaction"),
    Key("server", "no_message_seconds", SECONDS, "how long a client may stay connected without sending a message"),
    Key("server", "hook_seconds", SECONDS, "how long to wait for a verdict, or for a message to be stored, before 451 4.3.0"),
    Key("server", "max_buffered_octets", OCTETS, "the most octets of memory for all open transactions"),
    Key("server", "bare_newlines", NEWLINES, "what to do with a message that has a bare CR or LF"),
    Key("spool", "maildir", TEXT, "the folder of the spool, relative to this file; absent: messages are kept in memory"),
    Key(
        "queues",
        "url",
        TEXT,
        "the engine that stores messages, instead of [spool]; a file is relative to this file; env:NAME reads an environment variable",
    ),
    Key("queues", "held", TEXT, "amqp: the URL of the engine for held and discarded messages"),
    Key("queues", "timeout_seconds", SECONDS, "how long a message may wait for the engine, before 451 4.4.1"),
    Key("queues", "duplicate_seconds", PERIOD, "SQL: how long a second copy of a message is dropped; 0: never"),
    Key("queues", "max_pending", COUNT, "the most entries that wait for the engine, before 452 4.3.1"),
    Key("directory", "url", TEXT, "the database of the lists, instead of [[list]], or mailman:FILE; a file is relative to this file"),
    Key("directory", "judge", JUDGE, "mailman: which senders are judged, for every list; envelope-or-from as in Mailman itself"),
    Key("directory", "wait_seconds", SECONDS, "how long to wait for its answer, before 451 4.4.3"),
    Key("directory", "connections", COUNT, "how many of its connections to use at once"),
    Key("maps", "mta", MTA, "the MTA whose maps are written when the server starts, and at SIGHUP"),
    Key("maps", "out", TEXT, "the folder that they are written to, relative to this file"),
    Key("maps", "next_hop", TEXT, "where the MTA finds the server, HOST:PORT or unix:PATH; absent: the server's first address"),
    Key("maps", "service", TEXT, "Postfix: which service of master.cf delivers"),
    Key("maps", "type", MAP_TYPE, "Postfix: the kind of table"),
    Key("maps", "class", MAP_CLASS, "Postfix: the class of the lists' domains"),
    Key("maps", "then", TEXT, "a shell command that runs when a map has changed"),
    Key("list", "address", TEXT, "the list's own address"),
    Key("list", "alias_domains", TEXTS, "other domains at which the list has the same name"),
    Key("list", "members", TEXTS, "its members"),
    Key("list", "members_file", TEXT, "a file with a member's address on each line, relative to this file"),
    Key("list", "moderated", TEXTS, "members whose posts are held"),
    Key("list", "reject_moderated", FLAG, "whether posts of moderated members are rejected instead"),
    Key(
        "list",
        "accept_these_nonmembers",
        TEXTS,
        "other senders that may post; @domain; @*.domain; ^pattern; @other-list, its members",
    ),
    Key("list", "banned", TEXTS, "senders that may not post, members or not; @domain; @*.domain; ^pattern; @other-list"),
    Key("list", "generic_nonmember_action", TEXT, "accept, hold, reject or discard: posts of non-members"),
    Key("list", "null_sender", TEXT, "reject, hold or accept: posts from <>"),
    Key("list", "judge", TEXT, "envelope or envelope-or-from: which senders are judged"),
    Key("list", "normalise", NORMALISE, "which rewritten spellings of a sender are undone: batv (prvs= and btv1== tags)"),
    Key("list", "subaddresses", FLAG, "whether name+detail is the sender name"),
    Key("list", "trusted_authserv_id", TEXT, "as in [server], for this list; absent: the server's"),
    Key("list", "trusted_arc_sealers", TEXTS, "as in [server], with the list's own trusted_authserv_id"),
    Key("list", "unvouched", TEXT, "hold, reject or discard: posts whose content is rejected, from senders that the list does not know"),
    Key("list", "emergency", FLAG, "whether every post is held"),
    Key("list", "retired", FLAG, "whether the list is closed down and takes no posts"),
    Key("list", "require_from", FLAG, "whether a post without a From is rejected"),
    Key("person", "addresses", TEXTS, "the addresses of one sender; a right or a ban of one applies to all"),
    Key("list", "max_message_octets", OCTETS, "the largest post; absent: the server's limit alone"),
)
