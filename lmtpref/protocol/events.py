"""Questions for the handler: one class for each hook, with the arguments of the hook.

A session creates an event only for a question that must wait: a hook returned an awaitable or raised, or the session has no handler
and leaves every question to its driver.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import ClassVar, Final

from lmtpref.protocol.commands import Command
from lmtpref.protocol.errors import UsageError
from lmtpref.protocol.handler import Answer, Envelope, Handler, Peer, Recipient
from lmtpref.protocol.replies import Reply
from lmtpref.protocol.syntax import is_host


class _Unasked:
    """The answer to a question whose hook was not called yet."""

    def __await__(self) -> object:
        raise UsageError("the handler was not asked yet; call event.ask(handler)")


UNASKED: Final = _Unasked()

Returned = Reply | None | Awaitable[Reply | None] | _Unasked


class Event:
    """A question that waits for its answer.

    `answer` is what the hook returned, or UNASKED; `error` is what it raised, or None.
    """

    __slots__ = ("answer", "error")
    hook: ClassVar[str]
    # The first digits that a handler's reply may have; a None from the handler means the positive reply.
    may_answer: ClassVar[tuple[int, ...]] = ()

    def __init__(self) -> None:
        self.answer: Returned = UNASKED
        self.error: BaseException | None = None

    @property
    def arguments(self) -> tuple[object, ...]:
        """The arguments of the hook."""
        raise NotImplementedError

    def ask(self, handler: Handler) -> Answer:
        """Call the handler's hook and return its result; it may raise any exception."""
        answer: Answer = getattr(handler, self.hook)(*self.arguments)
        return answer

    def outcome(self, handler: Handler) -> Answer:
        """Return the hook's result, calling the hook now if that has not happened.  Raises the hook's exception."""
        if self.error is not None:
            raise self.error
        return self.ask(handler) if isinstance(self.answer, _Unasked) else self.answer

    @classmethod
    def check(cls, reply: Reply) -> None:
        """Check that the hook may answer `reply`.  Raises UsageError if not."""
        if not cls.may_answer:
            raise UsageError(f"{cls.hook} is not answered")
        if reply.code // 100 not in cls.may_answer:
            raise UsageError(f"{cls.hook} may not be answered {reply.code}")
        if reply.enhanced is None:
            raise UsageError(f"a reply to {cls.hook} needs an enhanced status code of its class (RFC 2034 section 4): {reply}")


class _OfPeer(Event):
    __slots__ = ("peer",)

    def __init__(self, peer: Peer) -> None:
        super().__init__()
        self.peer = peer

    @property
    def arguments(self) -> tuple[object, ...]:
        """The arguments of the hook."""
        return (self.peer,)


class _OfEnvelope(Event):
    __slots__ = ("envelope",)

    def __init__(self, envelope: Envelope) -> None:
        super().__init__()
        self.envelope = envelope

    @property
    def arguments(self) -> tuple[object, ...]:
        """The arguments of the hook."""
        return (self.envelope,)


class _OfRecipient(Event):
    __slots__ = ("envelope", "recipient")
    may_answer = (2, 4, 5)

    def __init__(self, envelope: Envelope, recipient: Recipient) -> None:
        super().__init__()
        self.envelope, self.recipient = envelope, recipient

    @property
    def arguments(self) -> tuple[object, ...]:
        """The arguments of the hook."""
        return (self.envelope, self.recipient)


class Connect(_OfPeer):
    """The peer has connected; the reply is the greeting (RFC 5321 section 3.1)."""

    __slots__ = ()
    hook = "connect"
    may_answer = (2, 4, 5)

    @classmethod
    def check(cls, reply: Reply) -> None:
        """Check that the reply can be the greeting, or rejects the connection.  Raises UsageError if not."""
        if reply.code // 100 not in cls.may_answer:
            raise UsageError(f"{cls.hook} may not be answered {reply.code}")
        if reply.positive and not _is_greeting(reply):
            raise UsageError(f"a greeting is 220, the server's name first, without an enhanced code (RFC 5321 section 4.2): {reply}")


class CommandEvent(_OfPeer):
    """The peer sent a command, and the handler has a hook `before_command`; with None, the session carries it out."""

    __slots__ = ("command",)
    hook = "before_command"
    may_answer = (2, 4, 5)

    def __init__(self, peer: Peer, command: Command) -> None:
        super().__init__(peer)
        self.command = command

    @property
    def arguments(self) -> tuple[object, ...]:
        """The arguments of the hook."""
        return (self.peer, self.command)


class Lhlo(_OfPeer):
    """The peer sent LHLO (RFC 2033 section 4.1)."""

    __slots__ = ("name",)
    hook = "lhlo"
    may_answer = (4, 5)

    def __init__(self, peer: Peer, name: str) -> None:
        super().__init__(peer)
        self.name = name

    @property
    def arguments(self) -> tuple[object, ...]:
        """The arguments of the hook."""
        return (self.peer, self.name)


class Mail(_OfEnvelope):
    """The peer sent MAIL."""

    __slots__ = ()
    hook = "mail"
    may_answer = (2, 4, 5)


class Rcpt(_OfRecipient):
    """The peer sent RCPT."""

    __slots__ = ()
    hook = "rcpt"


class Data(_OfEnvelope):
    """The peer sent DATA, or its first BDAT, and there is a recipient."""

    __slots__ = ()
    hook = "data"
    may_answer = (4, 5)


class Message(_OfEnvelope):
    """The whole message has come; a rejection is repeated for each recipient."""

    __slots__ = ()
    hook = "message"
    may_answer = (4, 5)


class Deliver(_OfRecipient):
    """A recipient needs its final reply (RFC 2033 section 4.2)."""

    __slots__ = ()
    hook = "deliver"


class Reset(_OfEnvelope):
    """An open transaction was abandoned; the hook has no answer."""

    __slots__ = ()
    hook = "reset"


class Disconnect(_OfPeer):
    """The connection is gone; the hook has no answer."""

    __slots__ = ()
    hook = "disconnect"


EVENT_OF: Mapping[str, type[Event]] = {
    event.hook: event for event in (Connect, Lhlo, Mail, Rcpt, Data, Message, Deliver, Reset, Disconnect)
}


def _leave(*_arguments: object) -> _Unasked:
    return UNASKED


# Leaves every question to the driver of a session, as an event.
DEFERRING: Final = type("_Deferring", (Handler,), {"__slots__": (), **dict.fromkeys(EVENT_OF, staticmethod(_leave))})()


def _is_greeting(reply: Reply) -> bool:
    return reply.code == 220 and reply.enhanced is None and is_host(reply.lines[0].partition(" ")[0])
