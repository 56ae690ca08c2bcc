"""One mail transaction from MAIL to its last reply: the envelope, the incoming content, the pending final replies."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from lmtpref.protocol.catalogue import MESSAGE_TOO_BIG_552
from lmtpref.protocol.framing import first_bare_newline, has_line_over
from lmtpref.protocol.handler import Envelope, Recipient
from lmtpref.protocol.replies import Reply
from lmtpref.protocol.settings import Settings
from lmtpref.protocol.syntax import Path
from lmtpref.protocol.xforward import UNAVAILABLE, Origin

# An address is kept as a line, an argument, a path and its parts, and in the records of a handler and a journal.
COPIES_OF_AN_ADDRESS = 7
ADDRESS_OCTETS = 2_700  # for the objects around those copies; measured in docs/corners/memory.rst


@dataclass(slots=True)
class Chunk:
    """A BDAT in progress: the octets still to come, and whether it had LAST."""

    octets: int
    last: bool


@dataclass(slots=True, eq=False)
class Transaction:
    """An open transaction.

    `owed` is the number of final replies not yet sent: accepted RCPTs are counted, not addresses (RFC 2033 section 4.2).
    `refusal` is the final reply for every recipient, once the message is rejected.
    """

    envelope: Envelope
    settings: Settings
    refusal: Reply | None = None
    owed: int = 0
    # One contiguous buffer, because a list of small chunks would use many times their memory.
    _chunks: bytearray = field(default_factory=bytearray)
    envelope_octets: int = field(init=False)

    def __post_init__(self) -> None:
        origin = self.envelope.origin
        origin_octets = _UNAVAILABLE_OCTETS if origin is UNAVAILABLE else _cost_of_origin(origin)
        self.envelope_octets = cost_of(self.envelope.reverse_path) + origin_octets

    @property
    def kept_octets(self) -> int:
        """The memory that this transaction occupies, in octets: its content, and an upper bound for its envelope."""
        return self.envelope_octets + (len(self._chunks) or len(self.envelope.content))

    def add_recipient(self, recipient: Recipient) -> None:
        """Add a recipient whose RCPT was accepted."""
        self.envelope.recipients.append(recipient)
        self.envelope_octets += cost_of(recipient.path)

    def has_room(self, octets: int) -> bool:
        """Return whether to keep a chunk of `octets`; one over the size limit rejects the message (RFC 1870)."""
        if self.refusal is None and len(self._chunks) + octets > self.settings.max_message_octets:
            self.refuse(MESSAGE_TOO_BIG_552)
        return self.refusal is None

    def add(self, octets: bytes) -> None:
        """Keep a chunk, as sent (RFC 3030 section 2)."""
        self._chunks += octets

    def refuse(self, reply: Reply) -> None:
        """Reject the message with `reply` for every recipient, and drop the content."""
        self.refusal = self.refusal or reply
        self._chunks.clear()

    def end_chunks(self) -> None:
        """End the content with the last chunk."""
        self._end(bytes(self._chunks))

    def end_data(self, content: bytes | Reply) -> None:
        """End the content with the final dot: `content` is the text before it, or the reply that rejects it."""
        refusal = content if isinstance(content, Reply) else _unfit(content, self.settings)
        if refusal:
            self.refuse(refusal)
        self._end(content if isinstance(content, bytes) else b"")

    def _end(self, content: bytes) -> None:
        self._chunks.clear()
        if self.refusal is None:
            self.envelope.content = content

    def next_recipient(self) -> Recipient:
        """Return the recipient whose final reply is next."""
        return self.envelope.recipients[-self.owed]


def _cost_of_origin(origin: Origin) -> int:
    return sum(sys.getsizeof(value) for value in origin.values())


# Most clients send no origin.
_UNAVAILABLE_OCTETS = _cost_of_origin(UNAVAILABLE)


def cost_of(path: Path | None) -> int:
    """Return how many octets of memory an address in the envelope may occupy.  The null sender counts as an empty address."""
    return ADDRESS_OCTETS + COPIES_OF_AN_ADDRESS * sys.getsizeof(path.given if path else "")


def _unfit(content: bytes, settings: Settings) -> Reply | None:
    """Return the reply that rejects content that is not text (RFC 5321 section 2.3.8); None if it is text."""
    if settings.bare_newlines == "reject" and (offset := first_bare_newline(content)) is not None:
        return Reply(554, "5.6.0", f"Bare CR or LF at octet {offset} of the message")
    limit = settings.max_text_line_octets
    if limit and has_line_over(content, limit):
        return Reply(500, "5.5.2", f"A line of the message is over {limit} octets")
    return None
