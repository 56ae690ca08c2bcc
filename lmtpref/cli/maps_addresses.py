"""Every address at which a list takes mail, as the tables of MTAs want it: one by one, or as a pattern."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from lmtpref.lists import MailingList
from lmtpref.lists.addresses import SUFFIXES, WITH_DETAIL
from lmtpref.protocol.domains import u_labels
from lmtpref.protocol.errors import UsageError

# What may stand in a table as it is; a quoted local-part, or an address literal, may not in every kind of them
_PLAIN = re.compile(r"\w[\w.&'=~-]*")
_SPECIAL = re.compile(r"[.]")  # of these, what a pattern has to quote


class ListAtDomain(NamedTuple):
    """A list at one of its domains; `own` is the domain of its own address, at which it is known to itself."""

    name: str
    domain: str
    own: str

    @property
    def is_alias(self) -> bool:
        """Whether this is not the list's own address."""
        return self.domain != self.own

    @property
    def locals(self) -> list[str]:
        """The local-parts that can be listed: the list's name, and with each sub-address."""
        return [self.name, *(f"{self.name}-{suffix}" for suffix in sorted(SUFFIXES))]

    @property
    def open_ended(self) -> list[str]:
        """The local-parts that go on, behind a `+`, with what nobody can list."""
        return [f"{self.name}-{suffix}" for suffix in sorted(SUFFIXES) if SUFFIXES[suffix] in WITH_DETAIL]

    @property
    def pattern(self) -> str:
        """All of its addresses, as POSIX, PCRE and RE2 alike read it; its first group is the local-part."""
        suffixes = "|".join(suffix + (r"(\+.*)?" if SUFFIXES[suffix] in WITH_DETAIL else "") for suffix in sorted(SUFFIXES))
        return f"^({quoted(self.name)}(-({suffixes}))?)@{quoted(self.domain)}$"


def places_of(lists: Iterable[MailingList]) -> list[ListAtDomain]:
    """Return the places of `lists`, with each spelling of their domains, sorted; the longest name first, because it wins.

    Raises UsageError for a list whose address cannot stand in a table.
    """
    places = [
        ListAtDomain(name, spelled, item.places[0][1])
        for item in lists
        for name, domain in map(_checked, item.places)
        for spelled in dict.fromkeys((domain, u_labels(domain)))
    ]
    return sorted(places, key=lambda place: (place.domain, -len(place.name), place.name))


def domains_of(places: Iterable[ListAtDomain]) -> list[str]:
    """Return the domains of `places`, sorted."""
    return sorted({place.domain for place in places})


def addresses_of(places: Iterable[ListAtDomain]) -> Iterator[tuple[str, ListAtDomain]]:
    """Each address that can be listed, once, and the place whose it is."""
    found: dict[str, ListAtDomain] = {}
    for place in places:
        for local in place.locals:
            found.setdefault(f"{local}@{place.domain}", place)
    yield from found.items()


def quoted(text: str) -> str:
    """Return a pattern that matches `text`, which is plain, and nothing else."""
    return _SPECIAL.sub(r"\\\g<0>", text)


def _checked(place: tuple[str, str]) -> tuple[str, str]:
    if not all(map(_PLAIN.fullmatch, place)):
        raise UsageError(f"{'@'.join(place)}: this address cannot stand in every MTA's tables")
    return place
