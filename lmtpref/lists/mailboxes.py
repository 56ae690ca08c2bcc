"""A handler that accepts every message and keeps it, for tests of other software."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage

from lmtpref.lists.addresses import fold_address
from lmtpref.lists.arrivals import Arrivals
from lmtpref.lists.message_parser import parse_message
from lmtpref.protocol.handler import Envelope, Handler, Recipient


@dataclass(slots=True, eq=False)
class Kept:
    """The message of one transaction: sender ("" for `<>`), content, and recipients as given, in RCPT order."""

    sender: str
    content: bytes
    recipients: list[str] = field(default_factory=list)
    _msg: EmailMessage | None = field(default=None, init=False, repr=False)

    @property
    def msg(self) -> EmailMessage:
        """The content, parsed on first access."""
        if self._msg is None:
            self._msg = parse_message(self.content)
        return self._msg


class Mailboxes(Handler, Arrivals[Kept]):
    """A handler that accepts every recipient and keeps each message once, oldest first.  Safe to read from any thread.

    >>> mailboxes = Mailboxes()
    >>> mailboxes["ant@lists.example"]
    []
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: list[Kept] = []
        self._by_address: dict[str, list[Kept]] = {}

    def deliver(self, envelope: Envelope, recipient: Recipient) -> None:
        """Store the message, or add a recipient to it."""
        with self._lock:
            kept: Kept | None = envelope.state
            if kept is None:
                envelope.state = kept = Kept(envelope.reverse_path.given if envelope.reverse_path else "", envelope.content)
                self._kept.append(kept)
            kept.recipients.append(recipient.path.given)
            mailbox = self._by_address.setdefault(fold_address(recipient.path.address), [])
            if not mailbox or mailbox[-1] is not kept:
                mailbox.append(kept)

    def clear(self) -> None:
        """Remove every message."""
        with self._lock:
            self._kept.clear()
            self._by_address.clear()

    def __getitem__(self, address: str) -> list[Kept]:
        with self._lock:
            return list(self._by_address.get(fold_address(address), ()))

    def __iter__(self) -> Iterator[Kept]:
        with self._lock:
            return iter(list(self._kept))

    def __len__(self) -> int:
        return len(self._kept)
