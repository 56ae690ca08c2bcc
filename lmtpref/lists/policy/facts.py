"""The facts that rules get: the stages of a conversation, and what the server knows at each.

All look-ups are done before a rule is called, so a rule never waits.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from lmtpref.lists.mailinglist import Lookup, MailingList
from lmtpref.lists.policy.authentication import Author
from lmtpref.lists.policy.header import Header
from lmtpref.lists.policy.verdicts import Discard, Verdict
from lmtpref.protocol.handler import Peer
from lmtpref.protocol.syntax import Path


class Stage(Enum):
    """A point of the conversation at which rules decide; the value is its name in logs and on pages."""

    CONNECT = "connect"
    LHLO = "LHLO"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    END_OF_DATA = "end of data"

    # Enum's own __hash__ is written in Python, and each message needs it five times.
    __hash__ = object.__hash__


class PeerFacts(NamedTuple):
    """The facts at connect and LHLO: the peer, and its name from LHLO, which proves nothing (RFC 5321 section 4.1.4).

    At connect the name is empty.
    """

    peer: Peer
    name: str


class SenderFacts(NamedTuple):
    """The facts at MAIL: the sender (None for `<>`), and the declared size in octets.

    `banned` says that the sender is banned from all lists, if the server rejects such senders at MAIL.
    """

    peer: Peer
    sender: Path | None
    declared_octets: int | None
    banned: bool


class RecipientFacts(NamedTuple):
    """The facts at RCPT: the envelope so far, and the directory's answer about sender and recipient.

    `served` says whether the server serves the recipient's domain: a list's, the server's own, or an omitted domain.
    `in_header` is true if a list also judges header senders and the rules are applied to one of them at the end of data.
    `banned_everywhere` says that the sender is banned from all lists, if the server rejects such senders at RCPT, or if
    another address of the same person is banned.
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
        """The recipient's list; None without one."""
        return self.found.list

    @property
    def is_post(self) -> bool:
        """Whether the recipient is a list's posting address, so that the message would be distributed."""
        return self.found.list is not None and self.found.subaddress is None

    @property
    def vouched(self) -> bool:
        """Whether the list knows the envelope sender, as a member or by accept_these_nonmembers."""
        return self.found.standing.member or self.found.standing.listed


class DataFacts(NamedTuple):
    """The facts at DATA: the sender, and the RCPT facts of each accepted recipient."""

    peer: Peer
    sender: Path | None
    recipients: tuple[RecipientFacts, ...]


class MessageFacts(NamedTuple):
    """The facts at the end of data, for one recipient: the RCPT facts, the RCPT verdict, and the message.

    `list` is the current list: None if it was removed after RCPT, or if the recipient has none.  `down` says that the
    list could not be looked up again.  `by_header` is the most favourable verdict on the envelope sender and the header
    senders, if the list judges by them.  `author` is the one that the trusted MTA authenticates, if the list needs that.
    """

    rcpt: RecipientFacts
    verdict: Verdict
    list: MailingList | None
    content: bytes
    header: Header
    down: bool = False
    by_header: Verdict | None = None
    author: Author | None = None

    @property
    def discarded(self) -> bool:
        """Whether the verdict on the senders is to discard."""
        return isinstance(self.by_header or self.verdict, Discard)


Facts = PeerFacts | SenderFacts | RecipientFacts | DataFacts | MessageFacts
