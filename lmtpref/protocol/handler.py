"""The hooks that a server calls: one at each point of the conversation.

==============  ==================================================  ==========================
hook            called                                              None means
==============  ==================================================  ==========================
connect         when the peer has connected                         220 and the greeting
lhlo            for LHLO                                            250 and the extensions
mail            for MAIL                                            250 2.1.0
rcpt            for each RCPT                                       250 2.1.5
data            for DATA or the first BDAT, with a recipient        354 (BDAT: read on)
message         once, after the final dot or LAST                   (go on to `deliver`)
deliver         for each accepted RCPT, in their order              250 2.0.0
reset           when an open transaction is abandoned               nothing
disconnect      when the connection is gone                         nothing
==============  ==================================================  ==========================
"""

from __future__ import annotations

import inspect
import ipaddress
import itertools
import logging
import warnings
import weakref
from collections.abc import Awaitable
from dataclasses import dataclass, field
from difflib import get_close_matches
from types import FunctionType
from typing import Any

from lmtpref.protocol.catalogue import LOCAL_ERROR_451
from lmtpref.protocol.errors import HandlerWarning
from lmtpref.protocol.replies import Reply
from lmtpref.protocol.syntax import NO_PARAMETERS, Parameters, Path, parse_size
from lmtpref.protocol.xforward import UNAVAILABLE, Origin

Answer = Reply | None | Awaitable[Reply | None]

# The names of the hooks, in the order of a conversation.
HOOKS = ("connect", "lhlo", "mail", "rcpt", "data", "message", "deliver", "reset", "disconnect")

log = logging.getLogger(__name__)


def _is_loopback(address: str) -> bool:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return (getattr(ip, "ipv4_mapped", None) or ip).is_loopback


@dataclass(slots=True, eq=False, weakref_slot=True)
class Peer:
    """The other end of a connection.

    `address` is an IP address, or None on a Unix socket; `known` says whether it is one of the server's `known_mtas`.
    `tls_names` are the dNSName subject alternative names of its certificate, after TLS has verified it.
    `tls_may_identify` says whether a certificate can make it known.
    `connection` is its number in this process, from 1.  `state` belongs to the handler, for as long as the connection lasts.
    """

    address: str | None = None
    port: int | None = None
    known: bool = True
    secure: bool = False  # since STARTTLS
    tls_names: tuple[str, ...] = ()
    tls_may_identify: bool = False
    lhlo: str | None = None  # its argument of LHLO, which proves nothing (RFC 5321 section 4.1.4)
    connection: int = field(default_factory=itertools.count(1).__next__, repr=False)
    state: Any = None

    @property
    def remote(self) -> bool:
        """Whether it may be on another machine: it has an address other than loopback."""
        return self.address is not None and not _is_loopback(self.address)

    @property
    def may_become_known(self) -> bool:
        """Whether it is not known yet, and its TLS certificate can still make it known."""
        return self.tls_may_identify and not self.known and not self.secure

    def owes_tls(self, require_tls: str) -> bool:
        """Whether it must begin TLS before other commands, given `Settings.require_tls`."""
        if self.secure:
            return False
        return self.may_become_known or require_tls == "yes" or (require_tls == "remote" and self.remote)


@dataclass(slots=True, eq=False)
class Recipient:
    """One RCPT: its forward-path and parameters.  The same path given twice is two of these (RFC 2033 section 4.2).

    `state` belongs to the handler, from `rcpt` to `deliver`.
    """

    path: Path
    parameters: Parameters = field(default_factory=lambda: NO_PARAMETERS)
    state: Any = None


@dataclass(slots=True, eq=False)
class Envelope:
    """One mail transaction.

    `reverse_path` is None for the null sender `<>`; `recipients` are the accepted ones, in RCPT order.
    `content` is the message octet for octet, dot-stuffing removed, and empty until its end.  `origin` is what XFORWARD
    said of the MTA's client.  `state` belongs to the handler, from `mail` to the end of the transaction.
    """

    peer: Peer
    reverse_path: Path | None
    parameters: Parameters = field(default_factory=lambda: NO_PARAMETERS)
    recipients: list[Recipient] = field(default_factory=list)
    content: bytes = b""
    origin: Origin = field(default_factory=lambda: UNAVAILABLE)
    state: Any = None

    @property
    def declared_octets(self) -> int | None:
        """The size that MAIL declared with SIZE=, in octets: only an estimate (RFC 1870 section 6)."""
        return parse_size(self.parameters.get("SIZE"))

    @property
    def binary(self) -> bool:
        """Whether MAIL had BODY=BINARYMIME, so that only BDAT may send the message (RFC 3030 section 3)."""
        return (self.parameters.get("BODY") or "").upper() == "BINARYMIME"

    @property
    def smtputf8(self) -> bool:
        """Whether MAIL had SMTPUTF8 (RFC 6531 section 3.4)."""
        return "SMTPUTF8" in self.parameters


_reported: weakref.WeakSet[type[Handler]] = weakref.WeakSet()


def _report_loss(kind: type[Handler]) -> None:
    """Log once for each class that it keeps no message."""
    if kind not in _reported:
        _reported.add(kind)
        log.error("%s has neither deliver nor message, so every recipient gets 451; to accept and drop, use AcceptAll", kind.__name__)


def _misspelt_hooks(kind: type[Handler]) -> list[tuple[str, str]]:
    """Return the public methods of `kind` that look like a misspelt hook, each with the hook that `kind` lacks."""
    found = []
    for name, method in vars(kind).items():
        if isinstance(method, FunctionType) and name not in {*HOOKS, "before_command"} and not name.startswith("_"):
            for hook in get_close_matches(name.lower(), HOOKS, n=1, cutoff=0.75):
                base = getattr(Handler, hook)
                if getattr(kind, hook) is base and _parameter_count(method) == _parameter_count(base):
                    found.append((name, hook))
    return found


def _parameter_count(function: FunctionType) -> int:
    return len(inspect.signature(function).parameters)


class Handler:
    """The base of handlers: each hook accepts, but a message that no hook keeps is deferred.

    Override the hooks that you need.  A hook returns None for the usual positive reply, or a Reply.  It may be `def` or
    `async def`.  If it raises an exception, that command or that recipient gets 451 4.3.0.  A 421 closes the connection.

    A subclass keeps messages in `deliver` or in `message`; without either, each recipient gets 451 4.3.0.
    A HandlerWarning reports a method that is probably a misspelt hook.
    """

    def __init_subclass__(cls, **options: object) -> None:
        super().__init_subclass__(**options)
        for name, hook in _misspelt_hooks(cls):
            warnings.warn(HandlerWarning(f"{cls.__name__}.{name} is never called; did you mean {hook}?"), stacklevel=2)

    def connect(self, peer: Peer) -> Answer:
        """Decide whether to serve this peer (RFC 5321 section 3.1).

        A 220 that begins with the server's name is the greeting.  To reject, answer 421, which closes, or 554, after which
        only QUIT is performed.
        """

    def lhlo(self, peer: Peer, name: str) -> Answer:
        """Decide about LHLO; a rejection leaves the state as it was (RFC 5321 section 4.1.4)."""

    def mail(self, envelope: Envelope) -> Answer:
        """Decide about the sender."""

    def rcpt(self, envelope: Envelope, recipient: Recipient) -> Answer:
        """Decide about a recipient; any 2xx reply earns it a reply after the final dot (RFC 2033 section 4)."""

    def data(self, envelope: Envelope) -> Answer:
        """Decide whether the client may send the message."""

    def message(self, envelope: Envelope) -> Answer:
        """Decide about the whole message; a rejection is repeated for each accepted recipient."""

    def deliver(self, envelope: Envelope, recipient: Recipient) -> Answer:  # noqa: ARG002 - as the hook has them
        """Take the message for this recipient; a 2xx reply is a promise (RFC 2033 section 4.2)."""
        if type(self).message is not Handler.message:
            return None
        _report_loss(type(self))
        return LOCAL_ERROR_451

    def reset(self, envelope: Envelope) -> Answer:
        """Note that the transaction was abandoned: by RSET, a second LHLO, QUIT, or a lost connection."""

    def disconnect(self, peer: Peer) -> Answer:
        """Note that the connection is gone."""


class AcceptAll(Handler):
    """A handler that accepts every message and keeps none, for tests of other hooks."""

    def deliver(self, envelope: Envelope, recipient: Recipient) -> Answer:
        """Accept the message and drop it."""
