"""What a server asks its handler, and when: one hook at each point of the conversation.

==============  ==================================================  ==========================
hook            asked                                               None stands for
==============  ==================================================  ==========================
connect         when the peer has connected                         220 and the greeting
lhlo            for LHLO                                            250 and the extensions
mail            for MAIL                                            250 2.1.0
rcpt            for each RCPT                                       250 2.1.5
data            for DATA or the first BDAT, with a recipient        354 (BDAT: read on)
message         once, after the final dot or LAST                   (go on to `deliver`)
deliver         for each accepted RCPT, in their order              250 2.0.0
reset           when an open transaction is given up                nothing
disconnect      when the connection is gone                         nothing
==============  ==================================================  ==========================
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable
from dataclasses import dataclass, field

from lmtpref.protocol.replies import Reply
from lmtpref.protocol.syntax import NO_PARAMETERS, Parameters, Path, parse_size
from lmtpref.protocol.xforward import UNAVAILABLE, Origin

Answer = Reply | None | Awaitable[Reply | None]


def _is_loopback(address: str) -> bool:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return (getattr(ip, "ipv4_mapped", None) or ip).is_loopback


@dataclass(slots=True, eq=False, weakref_slot=True)
class Peer:
    """The other end of a connection.

    `address` is an IP address, or None on a Unix socket; `known` tells whether it is one of the server's `known_mtas`.
    """

    address: str | None = None
    port: int | None = None
    known: bool = True
    secure: bool = False  # since STARTTLS
    lhlo: str | None = None  # what it calls itself; evidence of nothing (RFC 5321 section 4.1.4)

    @property
    def remote(self) -> bool:
        """Whether it may be on another machine: it has an address, which is not a loopback address."""
        return self.address is not None and not _is_loopback(self.address)

    def owes_tls(self, require_tls: str) -> bool:
        """Whether it must begin TLS before all else, where `Settings.require_tls` is `require_tls`."""
        return require_tls != "no" and not self.secure and (require_tls == "yes" or self.remote)


@dataclass(slots=True, eq=False)
class Recipient:
    """One RCPT: its forward-path and parameters.  The same path given twice is two of these (RFC 2033 section 4.2).

    `tag` is the handler's own: what it wants to remember about this recipient until `deliver`.
    """

    path: Path
    parameters: Parameters = field(default_factory=lambda: NO_PARAMETERS)
    tag: object = None


@dataclass(slots=True, eq=False)
class Envelope:
    """One mail transaction.

    `reverse_path` is None for the null sender `<>`; `recipients` are those that were accepted, in RCPT order;
    `content` is the message octet for octet, dot-stuffing removed, and empty until its end; `origin` is what XFORWARD
    said of the client that the MTA got it from.
    """

    peer: Peer
    reverse_path: Path | None
    parameters: Parameters = field(default_factory=lambda: NO_PARAMETERS)
    recipients: list[Recipient] = field(default_factory=list)
    content: bytes = b""
    origin: Origin = field(default_factory=lambda: UNAVAILABLE)

    @property
    def declared_octets(self) -> int | None:
        """What MAIL declared with SIZE=, in octets: a hint, never the truth (RFC 1870 section 6)."""
        return parse_size(self.parameters.get("SIZE"))

    @property
    def binary(self) -> bool:
        """Whether MAIL bore BODY=BINARYMIME, so that only BDAT may bring the message (RFC 3030 section 3)."""
        return (self.parameters.get("BODY") or "").upper() == "BINARYMIME"

    @property
    def smtputf8(self) -> bool:
        """Whether MAIL bore SMTPUTF8 (RFC 6531 section 3.4)."""
        return "SMTPUTF8" in self.parameters


class Handler:
    """Answers a server's questions; this one accepts everything and keeps nothing.

    Override what you need.  A hook returns None for the usual positive reply, or a Reply; it may be `def` or
    `async def`.  One that raises is answered 451 4.3.0, for that command or that recipient alone.
    A 421 closes the connection behind it.
    """

    def connect(self, peer: Peer) -> Answer:
        """Decide whether to serve this peer (RFC 5321 section 3.1).

        A 220 that begins with the server's name is the greeting.  To reject, answer 421, which closes, or 554, after which
        only QUIT is performed.
        """

    def lhlo(self, peer: Peer, name: str) -> Answer:
        """May it, now that it calls itself `name`?  A refusal leaves the state as it was (RFC 5321 section 4.1.4)."""

    def mail(self, envelope: Envelope) -> Answer:
        """May this sender send?"""

    def rcpt(self, envelope: Envelope, recipient: Recipient) -> Answer:
        """May it go to this recipient?  Any 2xx reply earns it a reply after the final dot (RFC 2033 section 4)."""

    def data(self, envelope: Envelope) -> Answer:
        """May the message come?"""

    def message(self, envelope: Envelope) -> Answer:
        """The message is here: a refusal is repeated for each accepted recipient."""

    def deliver(self, envelope: Envelope, recipient: Recipient) -> Answer:
        """Take the message for this recipient; a 2xx reply is a promise (RFC 2033 section 4.2)."""

    def reset(self, envelope: Envelope) -> Answer:
        """The transaction was given up: RSET, a second LHLO, QUIT, or a lost connection."""

    def disconnect(self, peer: Peer) -> Answer:
        """The connection is gone."""
