"""Mailing lists: their settings, their members, and the interface of a directory."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import KW_ONLY, dataclass, field
from enum import StrEnum
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

from lmtpref.lists.addresses import Subaddress, fold_address, fold_local, parse_address, parse_domain
from lmtpref.lists.persons import NOBODY, Persons
from lmtpref.lists.policy.authentication import Trust, parse_trust
from lmtpref.lists.senders import Addresses, Normaliser, Senders
from lmtpref.protocol.domains import a_labels
from lmtpref.protocol.errors import ConfigurationError, LmtpError
from lmtpref.protocol.maybe import Maybe
from lmtpref.protocol.renamed import current_word
from lmtpref.protocol.syntax import Path

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)


class NonmemberAction(StrEnum):
    """The action for a post whose sender is not a member, or for which the directory has an action of its own."""

    ACCEPT = "accept"
    HOLD = "hold"
    REJECT = "reject"
    DISCARD = "discard"


class Judge(StrEnum):
    """The senders that count for the right to post: the envelope sender, or the header senders too."""

    ENVELOPE = "envelope"
    ENVELOPE_OR_FROM = "envelope-or-from"


class Unvouched(StrEnum):
    """The action for a post that a content rule stops, if its sender is neither a member nor listed."""

    HOLD = "hold"
    REJECT = "reject"
    DISCARD = "discard"


class NullSender(StrEnum):
    """The action for a post from `<>`."""

    REJECT = "reject"
    HOLD = "hold"
    ACCEPT = "accept"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class MailingList:
    """A mailing list and its settings; sizes in octets.

    Addresses are strings and compare without case.  A list is immutable: to change it, replace it with a copy made by
    `dataclasses.replace`.

    Raises ConfigurationError, with the setting's name as its key: if a setting is invalid.
    """

    address: str
    _: KW_ONLY
    # Other domains at which the list has the same name.
    alias_domains: Collection[str] = ()
    members: Collection[str] = ()
    # Members whose posts are held, or rejected with `reject_moderated`.
    moderated: Collection[str] = ()
    reject_moderated: bool = False
    # Addresses, domains, ^patterns, and @other-list for the members of that list.
    accept_these_nonmembers: Collection[str] = ()
    banned: Collection[str] = ()
    generic_nonmember_action: NonmemberAction | Literal["accept", "hold", "reject", "discard"] = NonmemberAction.REJECT
    null_sender: NullSender | Literal["reject", "hold", "accept"] = NullSender.REJECT
    judge: Judge | Literal["envelope", "envelope-or-from"] = Judge.ENVELOPE
    unvouched: Unvouched | Literal["hold", "reject", "discard"] = Unvouched.HOLD
    # Rewritings of a sender address that are undone before it is compared.
    normalise: Collection[Literal["batv"]] = ()
    # Whether name+detail is the same sender as name.
    subaddresses: bool = False
    # The MTA whose authentication results a header sender needs (None: the server's), and the ARC sealers that count with it.
    trusted_authserv_id: str | None = None
    trusted_arc_sealers: Collection[str] = ()
    # Every post that would be distributed is held.
    emergency: bool = False
    # Every post is rejected.
    retired: bool = False
    # Whether a post needs a From field.
    require_from: bool = True
    # None: only the server's limit applies.
    max_message_octets: int | None = None
    path: Path = field(init=False)
    normaliser: Normaliser = field(init=False)
    allowed_nonmembers: Senders = field(init=False)
    banned_senders: Senders = field(init=False)
    trust: Trust | None = field(init=False)
    # The rules that can have a verdict on a post, by stage and standing (see `StageRules`).
    stage_rules: dict[Any, tuple[Any, ...]] = field(init=False)

    def __post_init__(self) -> None:
        put = object.__setattr__
        path = parse_address(self.address, key="address")
        if "+" in path.local:
            raise ConfigurationError(f"a list's name may not contain `+`: {self.address!r}", key="address")
        put(self, "path", path)
        put(self, "stage_rules", {})
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
        for key, parsed in (("accept_these_nonmembers", "allowed_nonmembers"), ("banned", "banned_senders")):
            put(self, key, tuple(getattr(self, key)))
            put(self, parsed, Senders.parse(getattr(self, key), key=key, normaliser=normaliser))
        put(self, "trusted_arc_sealers", tuple(self.trusted_arc_sealers))
        put(self, "trust", parse_trust(self.trusted_authserv_id, self.trusted_arc_sealers))
        for key, choices in _CHOICES.items():
            put(self, key, _choice(choices, getattr(self, key), key=key))
        for key in _FLAGS:
            if not isinstance(flag := getattr(self, key), bool):
                raise ConfigurationError(f"True or False; not {flag!r}", key=key)
        octets = self.max_message_octets
        if octets is not None and (type(octets) is not int or octets < 1):
            raise ConfigurationError(f"a number of octets above 0, or None; not {octets!r}", key="max_message_octets")

    def __repr__(self) -> str:
        return f"<MailingList {self.address}>"

    @property
    def is_fixed(self) -> bool:
        """Whether its members are always the same: they are kept here, and not read from elsewhere at each question."""
        return type(self.members) is Addresses and type(self.moderated) is Addresses

    @property
    def identities(self) -> frozenset[str]:
        """The list's names in List-Post and List-Id, in lower case: its addresses, and the same with a dot for the `@`."""
        return frozenset(fold_address(f"{name}{mark}{domain}") for name, domain in self.places for mark in "@.")

    @property
    def places(self) -> list[tuple[str, str]]:
        """The list's name and each of its domains, its own first, in the form in which they are compared."""
        return [(fold_local(self.path.local), domain) for domain in dict.fromkeys(map(a_labels, (self.path.domain, *self.alias_domains)))]


class Standing(NamedTuple):
    """The relation of a sender to a list."""

    member: bool = False
    moderated: bool = False
    listed: bool = False  # in accept_these_nonmembers
    banned: bool = False  # from this list
    known: bool = True  # False: the members cannot be read
    action: NonmemberAction | None = None  # for this sender; None: as the list says


STRANGER = Standing()
UNKNOWN = Standing(known=False)


class Lookup(NamedTuple):
    """A directory's answer about a recipient and a sender.

    `list` is None if the recipient is neither a list nor a sub-address of one.  `served` says whether any list has the
    recipient's domain.  `persons` has the other addresses of the sender.
    """

    list: MailingList | None = None
    subaddress: Subaddress | None = None
    detail: str | None = None
    standing: Standing = STRANGER
    served: bool = False
    down: bool = False  # the directory did not answer
    persons: Persons = NOBODY


class DirectoryError(LmtpError):
    """Raised when a directory cannot answer: it is down, too slow, or has unreadable data.  The text is for the log."""


class ListDirectory(Protocol):
    """The source of a server's lists.

    A method that has to wait returns an awaitable.  One that cannot answer raises DirectoryError; any other exception has
    the same effect.  If only a list's members cannot be read, the standing is UNKNOWN.
    """

    def look_up(self, recipient: Path, sender: Path | None) -> Maybe[Lookup]:
        """Look up `recipient`, and the standing of `sender` at that list."""

    def find(self, address: str | Path) -> Maybe[MailingList | None]:
        """Return the list with the posting address `address`, its own or an alias; None without one."""


_FLAGS = ("reject_moderated", "subaddresses", "emergency", "retired", "require_from")
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
