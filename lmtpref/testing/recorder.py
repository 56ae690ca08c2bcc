"""What a watched server has seen: conversations, messages, what a handler failed at; and the faults it is to have."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Protocol

from lmtpref.lists.arrivals import Arrivals
from lmtpref.lists.message_parser import parse_message
from lmtpref.protocol.catalogue import SHUTTING_DOWN_421
from lmtpref.protocol.handler import Envelope, Recipient
from lmtpref.protocol.observer import Observer
from lmtpref.protocol.replies import Reply
from lmtpref.testing.faults import Faults
from lmtpref.transcripts.notation import Who
from lmtpref.transcripts.recording import Recording


@dataclass(slots=True, eq=False)
class Message:
    """One message, and what each recipient was answered at its end.

    `sender` is "" for `<>`; `recipients` are those whose RCPT was accepted, as they were spelled, and `replies` theirs, in the
    same order, as far as they were given.
    """

    sender: str
    recipients: list[str]
    content: bytes
    peer: str | None = None  # the client's IP address; None on a Unix socket
    lhlo: str | None = None
    replies: list[Reply] = field(default_factory=list)

    @classmethod
    def of(cls, envelope: Envelope) -> Message:
        """Return the message in `envelope`, before anybody was answered."""
        sender = envelope.reverse_path.given if envelope.reverse_path else ""
        recipients = [recipient.path.given for recipient in envelope.recipients]
        return cls(sender, recipients, envelope.content, envelope.peer.address, envelope.peer.lhlo)

    @property
    def codes(self) -> dict[str, int]:
        """The reply code for each recipient; of one that was named twice, the last."""
        return {recipient: reply.code for recipient, reply in zip(self.recipients, self.replies, strict=False)}

    @property
    def msg(self) -> EmailMessage:
        """The content, parsed."""
        return parse_message(self.content)


class HasPendingHook(Protocol):
    """A conversation that can say whether its handler is at work."""

    @property
    def has_pending_hook(self) -> bool:
        """Whether a hook is being waited for."""


class Messages(Arrivals[Message]):
    """The messages that at least one recipient was answered 2xx for, in the order of their last replies."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._messages: list[Message] = []

    def append(self, message: Message) -> None:
        """Add `message`."""
        self._messages.append(message)

    def clear(self) -> None:
        """Forget them all."""
        self._messages.clear()

    def __iter__(self) -> Iterator[Message]:
        return iter(list(self._messages))

    def __len__(self) -> int:
        return len(self._messages)

    def _explain(self) -> str:
        return "; this was said:\n" + ("\n".join(self._recorder.transcripts) or "no client connected\n")


class Recorder:
    """Looks on while a server serves; `on_message` is called for each message that a recipient was answered 2xx for.

    Any thread may ask.  Without `keep` nothing is remembered but what the handler failed at.
    """

    def __init__(self, *, keep: bool = True, on_message: Callable[[Message], None] | None = None) -> None:
        self.faults = Faults()
        self.conversations: set[HasPendingHook] = set()  # those that are under way
        self._keep = keep
        self._on_message = on_message
        self._lock = threading.Lock()
        self.messages = Messages(self)
        self._recordings: list[Recording] = []
        self._failures: list[BaseException] = []

    @property
    def transcripts(self) -> list[str]:
        """What was said on each connection, in the order in which they came."""
        with self._lock:
            return [str(recording) for recording in self._recordings]

    @property
    def failures(self) -> list[BaseException]:
        """What the handler's hooks raised."""
        with self._lock:
            return list(self._failures)

    def clear(self) -> None:
        """Forget everything, faults too."""
        self.faults.clear()
        with self._lock:
            self.messages.clear()
            self._recordings.clear()
            self._failures.clear()

    # What a conversation tells --------------------------------------------------------------------------------------

    def record(self) -> Recording:
        """Return a recording for a conversation that begins."""
        recording = Recording()
        if self._keep:
            with self._lock:
                self._recordings.append(recording)
        return recording

    def received(self, message: Message) -> None:
        """All replies to this message are known."""
        if not any(reply.positive for reply in message.replies):
            return
        if self._on_message:
            self._on_message(message)
        if self._keep:
            self.messages.append(message)

    def failed(self, error: BaseException) -> None:
        """Note what a hook raised."""
        with self._lock:
            self._failures.append(error)


class ConversationRecorder(Observer):
    """Writes one conversation down for a `Recorder`, as a transcript and as messages with their replies."""

    def __init__(self, recorder: Recorder) -> None:
        self.sent_limit: int | None = None  # octets of the next reply that the client will see
        self._recorder = recorder
        self._recording = recorder.record()
        self._message: Message | None = None  # whose recipients are being answered

    def close(self, who: Who) -> None:
        """Note which side closed the connection."""
        self._recording.close(who)

    def fed(self, octets: bytes) -> None:
        """Record what the client sent."""
        self._recording.add("C", octets)

    def taken(self, octets: bytes) -> None:
        """Record what the server sent."""
        self._recording.add("S", octets[: self.sent_limit])

    def message(self, envelope: Envelope) -> None:
        """Begin a message."""
        self._message = Message.of(envelope)

    def replied(self, reply: Reply, recipient: Recipient | None) -> None:
        """Note a recipient's final reply; a 421 leaves the rest without one."""
        if self._message and recipient is not None and reply.code != SHUTTING_DOWN_421.code:
            self._message.replies.append(reply)

    def ended(self, envelope: Envelope, answered: bool) -> None:  # noqa: ARG002, FBT001 - as the observer has them
        """Hand over the message."""
        message, self._message = self._message, None
        if message:
            self._recorder.received(message)

    def ended_input(self) -> None:
        """Note that the client closed."""
        self.close("C")

    def lost(self) -> None:
        """Note that the client closed."""
        self.close("C")
