"""Sets of senders (addresses, domains, patterns, members of other lists), and the comparison of their spellings."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from lmtpref.lists.addresses import domain_keys, fold_address, parse_address, parse_domain, spellings
from lmtpref.lists.patterns import Pattern
from lmtpref.protocol.domains import a_labels
from lmtpref.protocol.errors import ConfigurationError
from lmtpref.protocol.syntax import Path

# The words that `normalise` accepts.
NORMALISATIONS = ("batv",)

# In draft-levine-smtp-batv the local part is prvs=TAG=USER; abuse.net writes btv1==TAG==USER.
_BATV = re.compile(r"(?:prvs=[0-9a-z]{1,64}=|btv1==[0-9a-z]{1,64}==)+(?=.)")


class Normaliser(NamedTuple):
    """A comparison of addresses that treats several spellings as one sender.

    `batv` ignores BATV tags before the user's name; `subaddresses` ignores `+` and the detail after it (RFC 5233).
    """

    batv: bool = False
    subaddresses: bool = False

    @classmethod
    def parse(cls, normalise: Collection[str], *, subaddresses: bool) -> Normaliser:
        """Return the normaliser for two settings.

        Raises ConfigurationError: if a word of `normalise` is unknown.
        """
        for word in normalise:
            if word not in NORMALISATIONS:
                raise ConfigurationError(f"one of {', '.join(NORMALISATIONS)}; not {word!r}", key="normalise")
        return cls("batv" in normalise, subaddresses)

    def key(self, address: str) -> str:
        """Return the key of `address`; addresses with equal keys are the same sender."""
        folded = _plain_key(address)
        if self == PLAIN:
            return folded
        local, at, domain = folded.rpartition("@")
        quoted = local.startswith('"')
        user = self._user(local[1:-1] if quoted else local)
        return parse_address(f'"{user}"@{domain}').address if quoted else f"{user}{at}{domain}"

    def _user(self, local: str) -> str:
        if self.batv and (tags := _BATV.match(local)):
            local = local[tags.end() :]
        user, plus, _ = local.partition("+")
        return user if self.subaddresses and plus and user else local


PLAIN = Normaliser()


def _plain_key(address: str) -> str:
    return fold_address(parse_address(address).address if '"' in address else address)


def possible_keys(address: str) -> list[str]:
    """Return the keys that all normalisers give to `address`, without duplicates."""
    return list(dict.fromkeys(Normaliser(batv, subaddresses).key(address) for batv in (False, True) for subaddresses in (False, True)))


class Addresses(AbstractSet[str]):
    """A set of addresses, compared by their keys and kept as given.  The cost of a look-up does not depend on the size.

    Raises ConfigurationError, with `key`: if an entry is not an address.
    """

    __slots__ = ("_given", "_key", "_keys", "normaliser")

    def __init__(self, given: Iterable[str] = (), *, key: str | None = None, normaliser: Normaliser = PLAIN) -> None:
        self.normaliser = normaliser
        self._given: dict[str, str] = {}
        for address in given:
            folded = fold_address(parse_address(address, key=key).address)
            # Equal strings are stored as one object to save memory.
            self._given[address if address == folded else folded] = address
        # The choice is made once, because every look-up needs it.
        self._key = _plain_key if normaliser == PLAIN else normaliser.key
        self._keys: Collection[str] = self._given if normaliser == PLAIN else frozenset(map(normaliser.key, self._given))

    def __contains__(self, address: object) -> bool:
        return isinstance(address, str) and self._key(address) in self._keys

    def __iter__(self) -> Iterator[str]:
        return iter(self._given.values())

    def __len__(self) -> int:
        return len(self._given)

    def __repr__(self) -> str:
        return f"<{len(self)} addresses>"


def names_domain(entry: str) -> bool:
    """Return whether an entry names a domain: `@spam.test` or `@*.spam.test`."""
    return entry.startswith("@") and "@" not in entry[1:]


def domain_key(entry: str, *, key: str | None = None) -> str:
    """Return the key of an entry that names a domain.

    Raises ConfigurationError, with `key`: if it is not a domain.
    """
    below = "*." if entry.startswith("@*.") else ""
    return f"@{below}{a_labels(parse_domain(entry[1 + len(below) :], key=key))}"


class Senders(NamedTuple):
    """The senders that a setting names.

    An entry is an address, a `^pattern`, another list for its members (`@other@list`), or a domain: `@spam.test` names
    every address at that domain, and `@*.spam.test` every address at a subdomain of it.
    """

    addresses: Addresses
    patterns: tuple[Pattern, ...] = ()
    lists: tuple[Path, ...] = ()
    domains: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, entries: Iterable[str], *, key: str, normaliser: Normaliser = PLAIN) -> Senders:
        """Parse the entries of the setting `key`.

        Raises ConfigurationError, with `key`: if an entry does not name senders.
        """
        kinds: dict[str, list[str]] = {"^": [], "@": [], "@domain": [], "": []}
        for entry in entries:
            kind = "@domain" if names_domain(entry) else entry[:1]
            kinds[kind if kind in kinds else ""].append(entry)
        return cls(
            Addresses(kinds[""], key=key, normaliser=normaliser),
            tuple(Pattern(entry, key=key) for entry in kinds["^"]),
            tuple(parse_address(entry[1:], key=key) for entry in kinds["@"]),
            frozenset(domain_key(entry, key=key) for entry in kinds["@domain"]),
        )

    def forms(self, address: str) -> dict[str, None]:
        """Return `address` as given and its key, because a pattern or another list may match either."""
        return dict.fromkeys((address, self.addresses.normaliser.key(address)))

    def matches(self, address: str) -> bool:
        """Return whether an address, a domain or a pattern names `address`; the members of other lists are the directory's task."""
        if address in self.addresses or (self.domains and not self.domains.isdisjoint(domain_keys(address))):
            return True
        spelled = [spelling for form in self.forms(address) for spelling in spellings(form)] if self.patterns else []
        return any(pattern.matches(spelling) for spelling in spelled for pattern in self.patterns)


def banned_everywhere(entries: Iterable[str], normaliser: Normaliser = PLAIN) -> Senders:
    """Parse the senders that are banned from all lists.

    Raises ConfigurationError: if an entry does not name senders, or names the members of a list.
    """
    senders = Senders.parse(entries, key="banned_senders", normaliser=normaliser)
    if senders.lists:
        raise ConfigurationError(f"only a list can ban another's members: '@{senders.lists[0]}'", key="banned_senders")
    return senders
