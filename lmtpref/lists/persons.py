"""Persons: senders with several addresses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lmtpref.lists.addresses import parse_address
from lmtpref.lists.senders import PLAIN, Normaliser
from lmtpref.protocol.errors import ConfigurationError


class Persons:
    """The addresses of persons.  The cost of a look-up does not depend on the number of persons.

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
        self._index = {}
        self.edition = object()

    def addresses_of(self, address: str, normaliser: Normaliser = PLAIN) -> tuple[str, ...]:
        """Return `address` and all addresses of its person, compared by `normaliser`."""
        if not self._persons:
            return (address,)
        index = self._index.get(normaliser) or self._indexed(normaliser)
        return (address, *index.get(normaliser.key(address), ()))

    def __iter__(self) -> Iterator[tuple[str, ...]]:
        return iter(self._persons)

    def __len__(self) -> int:
        return len(self._persons)

    def _indexed(self, normaliser: Normaliser) -> dict[str, tuple[str, ...]]:
        index: dict[str, tuple[str, ...]] = {}
        for person in self._persons:
            for key in {normaliser.key(address) for address in person}:
                # If the normaliser makes addresses of two persons equal, it makes one person of them.
                index[key] = index.get(key, ()) + person
        self._index[normaliser] = index
        return index


NOBODY = Persons()
