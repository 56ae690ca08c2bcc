"""What a rule is told: the stages of a conversation, and what is known at each.

Everything was looked up before a rule is asked, so a rule never waits.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from lmtpref.lists.mailinglist import Lookup, MailingList
from lmtpref.lists.policy.header import Header
from lmtpref.lists.policy.verdicts import Discard, Verdict
from lmtpref.protocol.handler import Peer
from lmtpref.protocol.syntax import Path


class Stage(Enum):
    """A point of the conversation at which something is decided; the value is how it is written."""

    CONNECT = "connect"
    LHLO = "LHLO"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    END_OF_DATA = "end of data"

    __hash__ = object.__hash__  # Enum's own is a function in Python, and each message asks for it five times


class PeerFacts(NamedTuple):
    """At connect and LHLO: who is calling, and the name it gives itself, which proves nothing (RFC 5321 section 4.1.4).

    At connect the name is empty.
    """

    peer: Peer
    name: str


class SenderFacts(NamedTuple):
    """At MAIL: the sender, None for `<>`, and the size it declares, in octets.

    `banned` tells that the sender is banned from all lists, if the server rejects such senders at MAIL.
    """

    peer: Peer
    sender: Path | None
    declared_octets: int | None
    banned: bool


class RecipientFacts(NamedTuple):
    """At RCPT: the envelope as far as it is known, and what the directory knows of sender and recipient.

    `served` tells whether the recipient's domain is ours: a list's, the server's own, or none at all.  At the end of data
    the same is asked once more of each address in the header, where a list wants that: then `in_header` is true.
    `banned_everywhere` tells that the sender is banned from all lists, if the server rejects such senders at RCPT, or by
    another address of the same person.
    """

    peer: Peer
    sender: Path | None
    declared_octets: int | None
    recipient: Path
    found: Lookup
    served: bool
    in_header: bool = False
    banned_everywhere: bool = False

    @property
    def list(self) -> MailingList | None:
        """The list that is asked; None if there is none."""
        return self.found.list

    @property
    def is_post(self) -> bool:
        """Whether it would be distributed: it goes to a list, and to none of its sub-addresses."""
        return self.found.list is not None and self.found.subaddress is None

    @property
    def vouched(self) -> bool:
        """Whether the list knows the envelope's sender, as a member or by accept_these_nonmembers."""
        return self.found.standing.member or self.found.standing.listed


class DataFacts(NamedTuple):
    """At DATA: the sender, and what was known at RCPT of each accepted recipient."""

    peer: Peer
    sender: Path | None
    recipients: tuple[RecipientFacts, ...]


class MessageFacts(NamedTuple):
    """At the end of data, for one recipient: what was known at RCPT, the verdict then, and the message.

    `list` is as it is now: None if it was removed since RCPT, or if none was asked; `down` tells that this could not be
    looked up.  `by_header` is the best verdict on the senders in envelope and header, where the list goes by them.
    """

    rcpt: RecipientFacts
    verdict: Verdict
    list: MailingList | None
    content: bytes
    header: Header
    down: bool = False
    by_header: Verdict | None = None

    @property
    def discarded(self) -> bool:
        """Whether it will not be distributed, going by its senders."""
        return isinstance(self.by_header or self.verdict, Discard)


Facts = PeerFacts | SenderFacts | RecipientFacts | DataFacts | MessageFacts
