"""Every address of a list in the forms that tables of MTAs need: one by one, or as a pattern."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from lmtpref.lists import MailingList
from lmtpref.lists.addresses import SUFFIXES, WITH_DETAIL
from lmtpref.protocol.domains import u_labels
from lmtpref.protocol.errors import UsageError

# A local-part that any table can hold unquoted; quoted local-parts, and address literals, do not fit into every kind of table.
_PLAIN = re.compile(r"\w[\w.&'=~-]*")
_SPECIAL = re.compile(r"[.]")  # the plain characters that a pattern must quote


class ListAtDomain(NamedTuple):
    """A list at one of its domains; `own` is the domain of its own address."""

    name: str
    domain: str
    own: str

    @property
    def is_alias(self) -> bool:
        """Whether this is not the list's own address."""
        return self.domain != self.own

    @property
    def locals(self) -> list[str]:
        """The local-parts without a detail: the list's name, alone and with each sub-address."""
        return [self.name, *(f"{self.name}-{suffix}" for suffix in sorted(SUFFIXES))]

    @property
    def open_ended(self) -> list[str]:
        """The local-parts after which a `+` and any detail may follow, which no table can enumerate."""
        return [f"{self.name}-{suffix}" for suffix in sorted(SUFFIXES) if SUFFIXES[suffix] in WITH_DETAIL]

    @property
    def pattern(self) -> str:
        """A pattern for all of its addresses, valid in POSIX, PCRE and RE2; its first group is the local-part."""
        suffixes = "|".join(suffix + (r"(\+.*)?" if SUFFIXES[suffix] in WITH_DETAIL else "") for suffix in sorted(SUFFIXES))
        return f"^({quoted(self.name)}(-({suffixes}))?)@{quoted(self.domain)}$"


def places_of(lists: Iterable[MailingList]) -> list[ListAtDomain]:
    """Return each list at each spelling of its domains, sorted; the longest name comes first, because it wins.

    Raises UsageError for a list whose address does not fit into a table.
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
    """Return each address without a detail once, with the place that it belongs to."""
    found: dict[str, ListAtDomain] = {}
    for place in places:
        for local in place.locals:
            found.setdefault(f"{local}@{place.domain}", place)
    yield from found.items()


def quoted(text: str) -> str:
    """Return a pattern that matches `text`, a plain one, and no other text."""
    return _SPECIAL.sub(r"\\\g<0>", text)


def _checked(place: tuple[str, str]) -> tuple[str, str]:
    if not all(map(_PLAIN.fullmatch, place)):
        raise UsageError(f"{'@'.join(place)}: not every MTA's tables can hold this address")
    return place
