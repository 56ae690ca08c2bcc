"""Where accepted messages go."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import TYPE_CHECKING

from lmtpref.lists.addresses import Subaddress
from lmtpref.lists.arrivals import Arrivals
from lmtpref.lists.message_parser import parse_message
from lmtpref.lists.policy.verdicts import ACCEPT, Discard, Hold, Verdict
from lmtpref.protocol.printable import printable
from lmtpref.protocol.xforward import UNAVAILABLE, Origin

if TYPE_CHECKING:
    from lmtpref.lists.policy.default import Decision

QUEUES = ("in", "bounces", "command", "hold", "discard")
MSGDATA_VERSION = 1

_BY_SUBADDRESS = {None: "in", Subaddress.OWNER: "in", Subaddress.BOUNCES: "bounces"}


@dataclass(slots=True, eq=False, kw_only=True)
class Entry:
    """One message for one recipient.

    `content` is what was sent, octet for octet; `trace` the lines put on top of it.  `reverse_path` is "" for the null
    sender; it, `forward_path` and MAIL's `parameters` are as given; `origin` is what XFORWARD said.  `list` is the list's
    own address, None for postmaster; `subaddress` the canonical name, None for a post; `detail` what followed the `+`.
    `trail` holds the decisions that led here, `moderator` the name of the person who released it from `hold`.
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

    @property
    def queue(self) -> str:
        """The name of the queue it belongs in."""
        if isinstance(self.verdict, Hold):
            return "hold"
        if isinstance(self.verdict, Discard):
            return "discard"
        return _BY_SUBADDRESS.get(self.subaddress, "command")

    @property
    def head(self) -> bytes:
        """What is stored before the content: the trace, and X-MailFrom.

        X-MailFrom stands above whatever the sender wrote, so that a forged one is not the first.  Content that begins
        with a blank would be read as its next line (RFC 5322 section 2.2.3), so there an empty line comes between.
        """
        fold = b"\r\n" if self.content.startswith((b" ", b"\t")) else b""
        return b"%sX-MailFrom: %s\r\n%s" % (self.trace, (self.reverse_path or "<>").encode(), fold)

    @property
    def octets(self) -> bytes:
        """The message as it is stored: the head and the content."""
        return self.head + self.content

    @property
    def msg(self) -> EmailMessage:
        """`octets`, parsed when first asked for; neither this nor a header of it ever raises (see `parse_message`)."""
        if self._msg is None:
            self._msg = parse_message(self.octets)
        return self._msg

    @property
    def msgdata(self) -> dict[str, object]:
        """What a list manager wants to know besides the message."""
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


def show(entry: Entry) -> None:
    """Print an entry's `msgdata`, sorted and aligned, a line a key; control characters are escaped."""
    data = entry.msgdata
    width = max(map(len, data))
    sys.stdout.writelines(f"{key:{width}}: {printable(data[key])}\n" for key in sorted(data))


class MemoryQueue(Arrivals[Entry]):
    """A queue of entries, oldest first; reading it does not empty it.  Any thread may read."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._lock = threading.Lock()

    def put(self, entry: Entry) -> None:
        """Add `entry`."""
        with self._lock:
            self._entries.append(entry)

    def take(self) -> list[Entry]:
        """Return the entries, which are no longer in the queue."""
        with self._lock:
            taken, self._entries = self._entries, []
        return taken

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries))

    def __len__(self) -> int:
        return len(self._entries)


class MemoryQueues(Mapping[str, MemoryQueue]):
    """The queues by name, in memory: for documents and tests, because what they hold is gone with the process."""

    def __init__(self) -> None:
        self._queues = {name: MemoryQueue() for name in QUEUES}

    def put(self, entry: Entry) -> None:
        """Keep `entry` in its queue."""
        self._queues[entry.queue].put(entry)

    def clear(self) -> None:
        """Empty every queue."""
        for queue in self._queues.values():
            queue.take()

    @property
    def max_message_octets(self) -> None:
        """Memory sets no limit of its own."""
        return

    async def open(self) -> None:
        """Nothing is to be reached."""

    async def counts(self) -> dict[str, int]:
        """Return how many entries each queue holds."""
        return {name: len(queue) for name, queue in self._queues.items()}

    async def aclose(self) -> bool:
        """Return True: every entry that was put is in its queue."""
        return self.close()

    def close(self) -> bool:
        """Whether everything was kept that was put: it was."""
        return True

    def __getitem__(self, name: str) -> MemoryQueue:
        return self._queues[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._queues)

    def __len__(self) -> int:
        return len(self._queues)
