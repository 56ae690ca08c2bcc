"""Addresses of lists: pure functions that split a local-part into a list name and a sub-address."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from lmtpref.protocol.domains import a_labels, both_spellings
from lmtpref.protocol.errors import ConfigurationError, UsageError
from lmtpref.protocol.syntax import Path


class Subaddress(StrEnum):
    """The kinds of sub-address; the value is the canonical name."""

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

# The detail after `+` is a VERP-encoded recipient for one of these and a token for the other.  No other kind has a detail.
WITH_DETAIL = frozenset({Subaddress.BOUNCES, Subaddress.CONFIRM})


class ListAddress(NamedTuple):
    """One way to read a local-part: the list's name in lower case, and the sub-address.

    `subaddress` is None for a post; `detail` is the text after the first `+`, as given, and None if there is no `+`.
    """

    name: str
    subaddress: Subaddress | None = None
    detail: str | None = None


# These are invisible too, but some scripts need them to join letters (RFC 5892 appendix A).
_JOINERS = dict.fromkeys((0x200C, 0x200D))


def parse_address(address: str, *, key: str | None = None) -> Path:
    """Parse `address`, a mailbox with a domain.

    Raises ConfigurationError, with `key`: if it is not one, or if it contains an invisible character, as some editors insert.
    """
    try:
        path = Path.parse(address)
    except UsageError:
        path = None
    if path is None or not path.domain or not address.translate(_JOINERS).isprintable():
        raise ConfigurationError(f"not an address: {address!r}", key=key)
    return path


def fold_local(local: str) -> str:
    """Return a local-part in the form in which it is compared: in lower case."""
    return local.lower()


def fold_address(address: str) -> str:
    """Return `address` in the form in which it is compared: the local-part in lower case, the domain as A-labels.

    A text without `@` is taken for a domain.
    """
    if address.isascii():
        return address.lower()
    local, at, domain = address.rpartition("@")
    return f"{fold_local(local)}{at}{a_labels(domain)}"


def parse_domain(domain: str, *, key: str | None = None) -> str:
    """Return `domain` as given.

    Raises ConfigurationError, with `key`: if it is not a domain.
    """
    try:
        return parse_address(f"postmaster@{domain}").domain
    except ConfigurationError:
        raise ConfigurationError(f"not a domain: {domain!r}", key=key) from None


def domain_keys(address: str) -> list[str]:
    """Return the keys under which a setting may name the domain of `address`: its own, and one for each parent domain.

    >>> domain_keys("dana@mail.spam.test")
    ['@mail.spam.test', '@*.spam.test', '@*.test']
    """
    labels = a_labels(address.rpartition("@")[2]).split(".")
    return ["@" + ".".join(labels), *("@*." + ".".join(labels[above:]) for above in range(1, len(labels)))]


def spellings(address: str) -> Iterable[str]:
    """Return `address` as given, with its domain as A-labels, and with its domain as U-labels, without duplicates."""
    local, at, domain = address.rpartition("@")
    return dict.fromkeys([address, *(f"{local}{at}{spelled}" for spelled in both_spellings(domain))])


# Most mail goes to a few lists.
@lru_cache(maxsize=2048)
def parse_local_part(local: str) -> tuple[ListAddress, ...]:
    """Return the ways to read `local`, the longest list name first; empty if it cannot name a list.

    >>> parse_local_part("test-join")
    (ListAddress(name='test-join', subaddress=None, detail=None),
     ListAddress(name='test', subaddress=<Subaddress.JOIN: 'join'>, detail=None))

    A list name cannot contain a `+`, so the first one begins the detail.  The name `postmaster` is no list's.
    """
    if fold_local(local) == "postmaster":
        return ()
    head, plus, detail = local.partition("+")
    name, _, suffix = fold_local(head).rpartition("-")
    subaddress = SUFFIXES.get(suffix) if name else None
    if plus:
        return (ListAddress(name, subaddress, detail),) if subaddress in WITH_DETAIL else ()
    post = ListAddress(fold_local(local))
    return (post, ListAddress(name, subaddress)) if subaddress else (post,)
