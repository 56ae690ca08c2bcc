"""A directory of lists in memory."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator

from lmtpref.lists.addresses import fold_local, parse_address, parse_local_part
from lmtpref.lists.mailinglist import STRANGER, UNKNOWN, Lookup, MailingList, Standing
from lmtpref.lists.persons import NOBODY, Persons
from lmtpref.lists.senders import Senders
from lmtpref.protocol.domains import a_labels
from lmtpref.protocol.errors import ConfigurationError, UsageError
from lmtpref.protocol.syntax import Path

log = logging.getLogger(__name__)


# The answers that are remembered; each key is two addresses, of at most a command line each.
MAX_REMEMBERED = 4096


class MemoryDirectory:
    """A `ListDirectory` that never waits.

    The cost of a look-up does not depend on the number of lists, members and persons.  An answer is remembered until
    lists or persons change; not if the members of any list are read from elsewhere.
    """

    def __init__(self, lists: Iterable[MailingList] = (), *, persons: Iterable[Iterable[str]] = ()) -> None:
        self.persons = Persons(persons)
        self._lists: dict[tuple[str, str], MailingList] = {}
        self._by_path: dict[str | Path, MailingList] = {}
        self._domains: Counter[str] = Counter()
        self._varying = 0  # lists whose members are read from elsewhere
        self._forget()
        for mailing_list in lists:
            self.add(mailing_list)

    def add(self, mailing_list: MailingList) -> None:
        """Add a list.

        Raises ConfigurationError: if one of its addresses belongs to another list.
        """
        places = mailing_list.places
        if taken := next((place for place in places if place in self._lists), None):
            raise ConfigurationError(f"there is already a list {'@'.join(taken)}", key="address")
        for place in places:
            self._lists[place] = mailing_list
            self._domains[place[1]] += 1
        self._by_path[mailing_list.path] = mailing_list
        self.persons.prepare(mailing_list.normaliser)
        self._varying += not mailing_list.is_fixed
        self._forget()

    def remove(self, address: str) -> MailingList:
        """Remove the list `address` and return it.

        Raises UsageError: if the directory has no such list.
        """
        mailing_list = self.find(address)
        if mailing_list is None:
            raise UsageError(f"there is no list {address!r}")
        for place in mailing_list.places:
            del self._lists[place]
            self._domains[place[1]] -= 1
        del self._by_path[mailing_list.path]
        self._varying -= not mailing_list.is_fixed
        self._forget()
        return mailing_list

    def find(self, address: str | Path) -> MailingList | None:
        """Return the list with the posting address `address`, its own or an alias; None without one."""
        if (found := self._by_path.get(address)) is not None:
            return found
        path = parse_address(address) if isinstance(address, str) else address
        return self._lists.get((fold_local(path.local), a_labels(path.domain)))

    def look_up(self, recipient: Path, sender: Path | None) -> Lookup:
        """Look up `recipient`, and the standing of `sender` at that list."""
        if self.persons.edition is not self._edition:
            self._forget()
        # A thread that changes the lists replaces the dictionary, so an answer from before the change is not stored in the new one.
        remembered = self._remembered
        found = remembered.get((recipient, sender))
        if found is None:
            found = self._look_up(recipient, sender)
            if not self._varying:
                if len(remembered) >= MAX_REMEMBERED:
                    remembered.clear()
                remembered[recipient, sender] = found
        return found

    def _forget(self) -> None:
        self._edition = self.persons.edition
        self._remembered: dict[tuple[Path, Path | None], Lookup] = {}

    def _look_up(self, recipient: Path, sender: Path | None) -> Lookup:
        persons = self.persons or NOBODY
        domain = a_labels(recipient.domain)
        for name, subaddress, detail in parse_local_part(recipient.local):
            if found := self._lists.get((name, domain)):
                # The standing matters only for a post.
                standing = STRANGER if subaddress else self._standing(found, sender)
                return Lookup(found, subaddress, detail, standing, served=True, persons=persons)
        return Lookup(served=self._domains[domain] > 0, persons=persons)

    def shadowed_by(self, mailing_list: MailingList) -> dict[str, MailingList]:
        """Return the sub-addresses of other lists that are also an address of `mailing_list`, which gets their mail.

        The longest list name wins, so a list `dog-owner` gets the mail for the owners of `dog`.
        """
        return {
            f"{name}@{domain}": found
            for name, domain in mailing_list.places
            for candidate in parse_local_part(name)[1:]
            if (found := self._lists.get((candidate.name, domain)))
        }

    def __iter__(self) -> Iterator[MailingList]:
        return iter(dict.fromkeys(self._lists.values()))

    def __len__(self) -> int:
        return len(set(self._lists.values()))

    def _standing(self, mailing_list: MailingList, sender: Path | None) -> Standing:
        if sender is None:
            return STRANGER
        addresses = self.persons.addresses_of(sender.address, mailing_list.normaliser)
        try:
            member = any(map(mailing_list.members.__contains__, addresses))
            moderated = member and any(map(mailing_list.moderated.__contains__, addresses))
            listed = bool(mailing_list.accept_these_nonmembers) and self._are(mailing_list.allowed_nonmembers, addresses)
            banned = bool(mailing_list.banned) and self._are(mailing_list.banned_senders, addresses)
        except OSError:
            log.exception("the members of %s cannot be read", mailing_list.address)
            return UNKNOWN
        return Standing(member, moderated, listed, banned)

    def _are(self, senders: Senders, addresses: Iterable[str]) -> bool:
        """Return whether `senders` contains one of `addresses`."""
        if any(map(senders.matches, addresses)):
            return True
        if not senders.lists:
            return False
        others = [found for found in map(self.find, senders.lists) if found]
        return any(form in other.members for address in addresses for form in senders.forms(address) for other in others)
