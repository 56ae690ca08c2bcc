"""What an address asks of a list: pure functions from a local-part to its readings."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from lmtpref.protocol.domains import a_labels, both_spellings
from lmtpref.protocol.errors import ConfigurationError, UsageError
from lmtpref.protocol.syntax import Path


class Subaddress(StrEnum):
    """What a list can be asked for besides taking a post; the value is the canonical name."""

    OWNER = "owner"
    BOUNCES = "bounces"
    REQUEST = "request"
    JOIN = "join"
    LEAVE = "leave"
    CONFIRM = "confirm"


SUFFIXES = {subaddress.value: subaddress for subaddress in Subaddress} | {
    "admin": Subaddress.OWNER,
    "subscribe": Subaddress.JOIN,
    "unsubscribe": Subaddress.LEAVE,
}

# What follows `+` is a VERP-encoded recipient for one of these, a token for the other, and means nothing elsewhere.
WITH_DETAIL = frozenset({Subaddress.BOUNCES, Subaddress.CONFIRM})


class Reading(NamedTuple):
    """One way to read a local-part: the list's name without case, and what is asked of the list.

    `subaddress` is None for a post; `detail` is what follows the first `+`, as given, and None where there is no `+`.
    """

    name: str
    subaddress: Subaddress | None = None
    detail: str | None = None


# Invisible too, but letters of some scripts join by them (RFC 5892 appendix A).
_JOINERS = dict.fromkeys((0x200C, 0x200D))


def parse_address(address: str, *, key: str | None = None) -> Path:
    """Return the mailbox that `address` spells, with a domain.

    Raises ConfigurationError, with `key`, if it is not one, or holds an invisible character, such as editors leave behind.
    """
    try:
        path = Path.parse(address)
    except UsageError:
        path = None
    if path is None or not path.domain or not address.translate(_JOINERS).isprintable():
        raise ConfigurationError(f"not an address: {address!r}", key=key)
    return path


def fold_local(local: str) -> str:
    """Return a local-part as it is compared: without case."""
    return local.lower()


def fold_address(address: str) -> str:
    """Return `address` as it is compared: the local-part without case, the domain as A-labels.

    A text without `@` is a domain.
    """
    if address.isascii():
        return address.lower()
    local, at, domain = address.rpartition("@")
    return f"{fold_local(local)}{at}{a_labels(domain)}"


def parse_domain(domain: str, *, key: str | None = None) -> str:
    """Return `domain` as given.  Raises ConfigurationError, with `key`, if it is not a domain."""
    try:
        return parse_address(f"postmaster@{domain}").domain
    except ConfigurationError:
        raise ConfigurationError(f"not a domain: {domain!r}", key=key) from None


def domain_keys(address: str) -> list[str]:
    """Return the keys by which the domain of `address` is found: its own, and one for each domain above it.

    >>> domain_keys("dana@mail.spam.test")
    ['@mail.spam.test', '@*.spam.test', '@*.test']
    """
    labels = a_labels(address.rpartition("@")[2]).split(".")
    return ["@" + ".".join(labels), *("@*." + ".".join(labels[above:]) for above in range(1, len(labels)))]


def spellings(address: str) -> Iterable[str]:
    """Return `address` as given, with its domain as A-labels, and with its domain as U-labels; each once."""
    local, at, domain = address.rpartition("@")
    return dict.fromkeys([address, *(f"{local}{at}{spelled}" for spelled in both_spellings(domain))])


@lru_cache(maxsize=2048)  # the same few lists are written to again and again
def readings(local: str) -> tuple[Reading, ...]:
    """The ways to read `local`, the longest list name first; none if no list can be meant.

    >>> readings("test-join")
    (Reading(name='test-join', subaddress=None, detail=None), Reading(name='test', subaddress=<Subaddress.JOIN: 'join'>, detail=None))

    No list name holds a `+`, so the first one begins the detail.
    """
    head, plus, detail = local.partition("+")
    name, _, suffix = fold_local(head).rpartition("-")
    subaddress = SUFFIXES.get(suffix) if name else None
    if plus:
        return (Reading(name, subaddress, detail),) if subaddress in WITH_DETAIL else ()
    post = Reading(fold_local(local))
    return (post, Reading(name, subaddress)) if subaddress else (post,)
