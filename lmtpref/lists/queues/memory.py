"""Entries, and queues of them in memory."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import TYPE_CHECKING, Self

from lmtpref.lists.addresses import Subaddress
from lmtpref.lists.arrivals import Arrivals
from lmtpref.lists.message_parser import parse_message
from lmtpref.lists.policy.verdicts import ACCEPT, Discard, Hold, Verdict
from lmtpref.protocol.handler import Envelope, Recipient
from lmtpref.protocol.printable import printable
from lmtpref.protocol.xforward import UNAVAILABLE, Origin

if TYPE_CHECKING:
    from lmtpref.lists.policy.default import Decision

# A list's address, a sub-address and its detail.
Target = tuple[str | None, Subaddress | None, str | None]

QUEUES = ("in", "bounces", "command", "hold", "discard")
MSGDATA_VERSION = 1

_BY_SUBADDRESS = {None: "in", Subaddress.OWNER: "in", Subaddress.BOUNCES: "bounces"}


@dataclass(slots=True, eq=False, kw_only=True)
class Entry:
    """One message for one recipient.

    `content` is the message as sent, octet for octet; `trace` has the lines added above it.  `reverse_path` ("" for the
    null sender), `forward_path` and MAIL's `parameters` are as given; `origin` has the values of XFORWARD.  `list` is the
    list's own address, None for postmaster.  `subaddress` is the canonical name, None for a post; `detail` is the text
    after the `+`.  `trail` has the decisions about the message, and `moderator` names the person that released it from
    `hold`.
    """

    content: bytes
    trace: bytes = b""
    reverse_path: str = ""
    forward_path: str = ""
    parameters: Mapping[str, str | None] = field(default_factory=dict)
    origin: Origin = field(default_factory=lambda: UNAVAILABLE)
    list: str | None = None
    subaddress: Subaddress | None = None
    detail: str | None = None
    verdict: Verdict = ACCEPT
    trail: tuple[Decision, ...] = ()
    site_owner: str = ""
    moderator: str = ""
    _msg: EmailMessage | None = field(default=None, init=False, repr=False)

    @classmethod
    def of(cls, envelope: Envelope, recipient: Recipient, target: Target, trace: bytes, trail: tuple[Decision, ...]) -> Self:
        """Return the entry for one recipient; `target` is its list, sub-address and detail.

        Every message of every recipient needs one, and a call with these keywords would cost as much as the rules.
        """
        entry = object.__new__(cls)
        entry.content, entry.trace, entry.trail, entry.verdict = envelope.content, trace, trail, trail[-1].verdict
        entry.reverse_path = envelope.reverse_path.given if envelope.reverse_path else ""
        entry.forward_path = recipient.path.given
        entry.parameters, entry.origin = envelope.parameters, envelope.origin
        entry.list, entry.subaddress, entry.detail = target
        entry.site_owner, entry.moderator, entry._msg = "", "", None
        return entry

    @property
    def queue(self) -> str:
        """The name of the entry's queue."""
        return _queue_of(self.verdict, self.subaddress)

    @property
    def head(self) -> bytes:
        """The octets stored before the content: the trace and X-MailFrom.

        X-MailFrom stands above the sender's own header, so a forged one is never the first.  Content that begins with
        white space would continue the X-MailFrom line (RFC 5322 section 2.2.3), so an empty line then precedes it.
        """
        fold = b"\r\n" if self.content.startswith((b" ", b"\t")) else b""
        return b"%sX-MailFrom: %s\r\n%s" % (self.trace, (self.reverse_path or "<>").encode(), fold)

    @property
    def octets(self) -> bytes:
        """The stored message: the head and the content."""
        return self.head + self.content

    @property
    def msg(self) -> EmailMessage:
        """`octets`, parsed on first access; neither this nor reading a header raises an exception (see `parse_message`)."""
        if self._msg is None:
            self._msg = parse_message(self.octets)
        return self._msg

    @property
    def msgdata(self) -> dict[str, object]:
        """The metadata that a list manager needs besides the message."""
        data: dict[str, object] = {"_parsemsg": False, "original_size": len(self.content), "version": MSGDATA_VERSION}
        if self.list is None:
            data["to_postmaster"] = True
        else:
            data["listname"] = self.list
        if self.subaddress:
            data["subaddress"] = self.subaddress.value
        elif self.list:
            data["to_list"] = True
        if self.subaddress is Subaddress.OWNER:
            data |= {"to_owner": True, "envsender": self.site_owner}
        if self.detail is not None:
            data["detail"] = self.detail
        if isinstance(self.verdict, Hold | Discard):
            data["reason"] = self.verdict.reason
        if self.moderator:
            data["moderator"] = self.moderator
        return data


def _queue_of(verdict: Verdict, subaddress: Subaddress | None) -> str:
    if isinstance(verdict, Hold):
        return "hold"
    if isinstance(verdict, Discard):
        return "discard"
    return _BY_SUBADDRESS.get(subaddress, "command")


def show(entry: Entry) -> None:
    """Print an entry's `msgdata`, one key a line, sorted and aligned, with control characters escaped."""
    data = entry.msgdata
    width = max(map(len, data))
    sys.stdout.writelines(f"{key:{width}}: {printable(data[key])}\n" for key in sorted(data))


class MemoryQueue(Arrivals[Entry]):
    """A queue of entries, oldest first.

    Iterating does not remove entries; `take` does.  Safe to read from any thread.
    """

    def __init__(self) -> None:
        # Each method of a deque that is used here is atomic, so no lock is needed.
        self._entries: deque[Entry] = deque()

    def put(self, entry: Entry) -> None:
        """Append an entry."""
        self._entries.append(entry)

    def take(self) -> list[Entry]:
        """Remove all entries and return them."""
        return [self._entries.popleft() for _ in range(len(self._entries))]

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.copy())

    def __len__(self) -> int:
        return len(self._entries)


class MemoryQueues(Mapping[str, MemoryQueue]):
    """The queues by name, in memory, for documents and tests: their contents are lost when the process ends."""

    def __init__(self) -> None:
        self._queues = {name: MemoryQueue() for name in QUEUES}

    def put(self, entry: Entry) -> None:
        """Store `entry` in its queue."""
        self._queues[_queue_of(entry.verdict, entry.subaddress)].put(entry)

    def clear(self) -> None:
        """Remove all entries from every queue."""
        for queue in self._queues.values():
            queue.take()

    @property
    def max_message_octets(self) -> None:
        """None: memory has no limit for one message."""
        return

    async def open(self) -> None:
        """Do nothing: there is nothing to connect to."""

    async def counts(self) -> dict[str, int]:
        """Return the number of entries in each queue."""
        return {name: len(queue) for name, queue in self._queues.items()}

    async def aclose(self) -> bool:
        """Return True: every entry that was put is in its queue."""
        return self.close()

    def close(self) -> bool:
        """Return True: every entry that was put is in its queue."""
        return True

    def __getitem__(self, name: str) -> MemoryQueue:
        return self._queues[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._queues)

    def __len__(self) -> int:
        return len(self._queues)
