"""The record of a watched server: conversations, messages, exceptions of the handler; and the faults to inject."""

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
    """One message, and each recipient's final reply.

    `sender` is "" for `<>`; `recipients` are the accepted ones, as spelled by the client.  `replies` are their final replies, in the
    same order, as far as they were sent.
    """

    sender: str
    recipients: list[str]
    content: bytes
    peer: str | None = None  # the client's IP address; None on a Unix socket
    lhlo: str | None = None
    replies: list[Reply] = field(default_factory=list)

    @classmethod
    def of(cls, envelope: Envelope) -> Message:
        """Return the message in `envelope`, without replies."""
        sender = envelope.reverse_path.given if envelope.reverse_path else ""
        recipients = [recipient.path.given for recipient in envelope.recipients]
        return cls(sender, recipients, envelope.content, envelope.peer.address, envelope.peer.lhlo)

    @property
    def codes(self) -> dict[str, int]:
        """The final reply's code for each recipient; for a repeated recipient, the last one."""
        return {recipient: reply.code for recipient, reply in zip(self.recipients, self.replies, strict=False)}

    @property
    def msg(self) -> EmailMessage:
        """The content, parsed."""
        return parse_message(self.content)


class HasPendingHook(Protocol):
    """A conversation that knows whether a hook is running."""

    @property
    def has_pending_hook(self) -> bool:
        """Whether a hook has not answered yet."""


class Messages(Arrivals[Message]):
    """The messages that were accepted for at least one recipient, in the order of their last replies."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._messages: list[Message] = []

    def append(self, message: Message) -> None:
        """Add `message`."""
        self._messages.append(message)

    def clear(self) -> None:
        """Remove all messages."""
        self._messages.clear()

    def __iter__(self) -> Iterator[Message]:
        return iter(list(self._messages))

    def __len__(self) -> int:
        return len(self._messages)

    def _explain(self) -> str:
        return "; the conversations so far:\n" + ("\n".join(self._recorder.transcripts) or "no client connected\n")


class Recorder:
    """An observer of a server; it calls `on_message` for each message that was accepted for a recipient.

    Any thread may read it.  Without `keep`, it stores only the exceptions of the handler.
    """

    def __init__(self, *, keep: bool = True, on_message: Callable[[Message], None] | None = None) -> None:
        self.faults = Faults()
        self.conversations: set[HasPendingHook] = set()  # the open ones
        self._keep = keep
        self._on_message = on_message
        self._lock = threading.Lock()
        self.messages = Messages(self)
        self._recordings: list[Recording] = []
        self._failures: list[BaseException] = []

    @property
    def transcripts(self) -> list[str]:
        """The transcript of each connection, in the order of the connections."""
        with self._lock:
            return [str(recording) for recording in self._recordings]

    @property
    def failures(self) -> list[BaseException]:
        """The exceptions of the handler's hooks."""
        with self._lock:
            return list(self._failures)

    def clear(self) -> None:
        """Remove everything, faults included."""
        self.faults.clear()
        with self._lock:
            self.messages.clear()
            self._recordings.clear()
            self._failures.clear()

    # Called by a conversation ---------------------------------------------------------------------------------------

    def record(self) -> Recording:
        """Return a recording for a new conversation."""
        recording = Recording()
        if self._keep:
            with self._lock:
                self._recordings.append(recording)
        return recording

    def received(self, message: Message) -> None:
        """Add a message after all its replies are known."""
        if not any(reply.positive for reply in message.replies):
            return
        if self._on_message:
            self._on_message(message)
        if self._keep:
            self.messages.append(message)

    def failed(self, error: BaseException) -> None:
        """Note a hook's exception."""
        with self._lock:
            self._failures.append(error)


class ConversationRecorder(Observer):
    """An observer that records one conversation for a `Recorder`, as a transcript and as messages with their replies."""

    def __init__(self, recorder: Recorder) -> None:
        self.sent_limit: int | None = None  # the octets of the next reply that the client will get
        self._recorder = recorder
        self._recording = recorder.record()
        self._message: Message | None = None  # its recipients are getting their replies

    def close(self, who: Who) -> None:
        """Note which side closed the connection."""
        self._recording.close(who)

    def fed(self, octets: bytes) -> None:
        """Record the client's octets."""
        self._recording.add("C", octets)

    def taken(self, octets: bytes) -> None:
        """Record the server's octets."""
        self._recording.add("S", octets[: self.sent_limit])

    def message(self, envelope: Envelope) -> None:
        """Begin a message."""
        self._message = Message.of(envelope)

    def replied(self, reply: Reply, recipient: Recipient | None) -> None:
        """Note a recipient's final reply; after a 421 the other recipients have none."""
        if self._message and recipient is not None and reply.code != SHUTTING_DOWN_421.code:
            self._message.replies.append(reply)

    def ended(self, envelope: Envelope, answered: bool) -> None:  # noqa: ARG002, FBT001 - as the observer has them
        """Pass on the message."""
        message, self._message = self._message, None
        if message:
            self._recorder.received(message)

    def ended_input(self) -> None:
        """Note that the client closed."""
        self.close("C")

    def lost(self) -> None:
        """Note that the client closed."""
        self.close("C")
