"""Mailing lists: their settings, their members, and the interface to where they come from."""

from __future__ import annotations

from collections.abc import Awaitable, Collection
from dataclasses import KW_ONLY, dataclass, field
from enum import StrEnum
from typing import Literal, NamedTuple, Protocol, TypeAlias, TypeVar

from lmtpref.lists.addresses import Subaddress, fold_address, fold_local, parse_address, parse_domain
from lmtpref.lists.persons import NOBODY, Persons
from lmtpref.lists.senders import Addresses, Normaliser, Senders
from lmtpref.protocol.domains import a_labels
from lmtpref.protocol.errors import ConfigurationError, LmtpError
from lmtpref.protocol.renamed import current_word
from lmtpref.protocol.syntax import Path

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)
Maybe: TypeAlias = T | Awaitable[T]  # a value, or the promise of one


class NonmemberAction(StrEnum):
    """What becomes of a post whose sender is not a member."""

    ACCEPT = "accept"
    HOLD = "hold"
    REJECT = "reject"
    DISCARD = "discard"


class Judge(StrEnum):
    """Whose right to post is asked for: that of the envelope's sender, or also that of those in the header."""

    ENVELOPE = "envelope"
    ENVELOPE_OR_FROM = "envelope-or-from"


class Unvouched(StrEnum):
    """What becomes of a post that a content rule objects to, when its sender is neither a member nor listed."""

    HOLD = "hold"
    REJECT = "reject"
    DISCARD = "discard"


class NullSender(StrEnum):
    """What becomes of a post from `<>`."""

    REJECT = "reject"
    HOLD = "hold"
    ACCEPT = "accept"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class MailingList:
    """A mailing list and its settings; sizes in octets.

    Addresses are given as strings and compared without case.  To change a list, put another in its place:
    `dataclasses.replace` makes it.  Raises ConfigurationError, with the setting's name as its key.
    """

    address: str
    _: KW_ONLY
    alias_domains: Collection[str] = ()  # other domains at which it has the same name
    members: Collection[str] = ()
    moderated: Collection[str] = ()  # members whose posts are held
    reject_moderated: bool = False  # their posts are refused instead
    accept_these_nonmembers: Collection[str] = ()  # addresses, ^patterns, and @other-list for the members of that list
    banned: Collection[str] = ()  # the same, for those who may not post
    generic_nonmember_action: NonmemberAction | Literal["accept", "hold", "reject", "discard"] = NonmemberAction.REJECT
    null_sender: NullSender | Literal["reject", "hold", "accept"] = NullSender.REJECT
    judge: Judge | Literal["envelope", "envelope-or-from"] = Judge.ENVELOPE
    unvouched: Unvouched | Literal["hold", "reject", "discard"] = Unvouched.HOLD
    normalise: Collection[Literal["batv"]] = ()  # rewritten spellings of a sender that are undone to compare it
    subaddresses: bool = False  # whether name+detail is the sender name
    emergency: bool = False  # every post is held
    retired: bool = False  # no post is taken any more
    require_from: bool = True  # whether a post needs a From
    max_message_octets: int | None = None  # None: the server's limit alone
    path: Path = field(init=False)
    normaliser: Normaliser = field(init=False)
    nonmembers: Senders = field(init=False)
    outlaws: Senders = field(init=False)

    def __post_init__(self) -> None:
        put = object.__setattr__
        path = parse_address(self.address, key="address")
        if "+" in path.local:
            raise ConfigurationError(f"a list's name holds no `+`: {self.address!r}", key="address")
        put(self, "path", path)
        put(self, "normalise", tuple(self.normalise))
        normaliser = Normaliser.parse(self.normalise, subaddresses=self.subaddresses)
        put(self, "normaliser", normaliser)
        for key in ("members", "moderated"):
            given = getattr(self, key)
            ready = isinstance(given, Addresses) and given.normaliser == normaliser
            put(self, key, given if ready else Addresses(given, key=key, normaliser=normaliser))
        for stranger in (address for address in self.moderated if address not in self.members):
            raise ConfigurationError(f"not a member: {stranger!r}", key="moderated")
        put(self, "alias_domains", tuple(parse_domain(domain, key="alias_domains") for domain in self.alias_domains))
        for key, parsed in (("accept_these_nonmembers", "nonmembers"), ("banned", "outlaws")):
            put(self, key, tuple(getattr(self, key)))
            put(self, parsed, Senders.parse(getattr(self, key), key=key, normaliser=normaliser))
        for key, choices in _CHOICES.items():
            put(self, key, _choice(choices, getattr(self, key), key=key))

    def __repr__(self) -> str:
        return f"<MailingList {self.address}>"

    @property
    def identities(self) -> frozenset[str]:
        """What List-Id and List-Post call it, without case: its address, and its name and domain joined by a dot."""
        return frozenset(fold_address(f"{name}{mark}{domain}") for name, domain in self.places for mark in "@.")

    @property
    def places(self) -> list[tuple[str, str]]:
        """Where it is found: its name at its own domain and at each alias domain, without case."""
        return [(fold_local(self.path.local), domain) for domain in dict.fromkeys(map(a_labels, (self.path.domain, *self.alias_domains)))]


class Standing(NamedTuple):
    """What a sender is to a list."""

    member: bool = False
    moderated: bool = False
    listed: bool = False  # in accept_these_nonmembers
    banned: bool = False  # from this list
    known: bool = True  # False: the list's members cannot be read just now


STRANGER = Standing()
UNKNOWN = Standing(known=False)


class Lookup(NamedTuple):
    """What a directory knows of a recipient and a sender.

    `list` is None if the recipient is neither a list nor a sub-address of one; `served` tells whether any list
    has the recipient's domain; `persons` tells which other addresses the sender has.
    """

    list: MailingList | None = None
    subaddress: Subaddress | None = None
    detail: str | None = None
    standing: Standing = STRANGER
    served: bool = False
    down: bool = False  # the directory could not be asked: nothing is known
    persons: Persons = NOBODY


class DirectoryError(LmtpError):
    """A directory cannot say now: it is down, too slow, or holds what cannot be read.  The text is for the log."""


class ListDirectory(Protocol):
    """Where lists come from.  A directory that has to wait returns awaitables; one that cannot say raises DirectoryError.

    Anything else that it raises comes to the same.  Where only a list's members cannot be read, the standing is UNKNOWN.
    """

    def look_up(self, recipient: Path, sender: Path | None) -> Maybe[Lookup]:
        """What is known of `recipient`, and of `sender` to that list."""

    def find(self, address: str | Path) -> Maybe[MailingList | None]:
        """The list whose own address, or alias, is `address`; None if there is none."""


_CHOICES: dict[str, type[StrEnum]] = {
    "generic_nonmember_action": NonmemberAction,
    "null_sender": NullSender,
    "judge": Judge,
    "unvouched": Unvouched,
}


def _choice(choices: type[E], value: str, *, key: str) -> E:
    try:
        return choices(current_word(key, value))
    except ValueError:
        raise ConfigurationError(f"one of {', '.join(choices)}; not {value!r}", key=key) from None
