"""Persons: senders with several addresses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lmtpref.lists.addresses import parse_address
from lmtpref.lists.senders import PLAIN, Normaliser
from lmtpref.protocol.errors import ConfigurationError


class Persons:
    """The addresses of persons.  The cost of a look-up does not depend on the number of persons, after `prepare`.

    `edition` is another object after each change.
    """

    __slots__ = ("_index", "_owner", "_persons", "edition")

    def __init__(self, persons: Iterable[Iterable[str]] = ()) -> None:
        self._persons: list[tuple[str, ...]] = []
        self._owner: dict[str, int] = {}
        self._index: dict[Normaliser, dict[str, tuple[str, ...]]] = {}
        self.edition = object()
        for addresses in persons:
            self.add(addresses)

    def add(self, addresses: Iterable[str]) -> None:
        """Add a person with these addresses.

        Raises ConfigurationError: if an entry is not an address, or belongs to another person.
        """
        person = tuple(addresses)
        keys = {PLAIN.key(parse_address(address, key="addresses").address): address for address in person}
        if taken := next((address for key, address in keys.items() if key in self._owner), None):
            raise ConfigurationError(f"belongs to another person already: {taken!r}", key="addresses")
        self._owner.update(dict.fromkeys(keys, len(self._persons)))
        self._persons.append(person)
        for normaliser, index in self._index.items():
            _extend(index, person, normaliser)
        self.edition = object()

    def prepare(self, normaliser: Normaliser) -> None:
        """Index the addresses by their keys from `normaliser`, so that no look-up has to."""
        if normaliser not in self._index:
            index: dict[str, tuple[str, ...]] = {}
            for person in self._persons:
                _extend(index, person, normaliser)
            self._index[normaliser] = index

    def addresses_of(self, address: str, normaliser: Normaliser = PLAIN) -> tuple[str, ...]:
        """Return `address` and all addresses of its person, compared by `normaliser`."""
        if not self._persons:
            return (address,)
        self.prepare(normaliser)
        return (address, *self._index[normaliser].get(normaliser.key(address), ()))

    def __iter__(self) -> Iterator[tuple[str, ...]]:
        return iter(self._persons)

    def __len__(self) -> int:
        return len(self._persons)


def _extend(index: dict[str, tuple[str, ...]], person: tuple[str, ...], normaliser: Normaliser) -> None:
    """Add a person to an index."""
    for key in {normaliser.key(address) for address in person}:
        # If the normaliser makes addresses of two persons equal, it makes one person of them.
        index[key] = index.get(key, ()) + person


NOBODY = Persons()
