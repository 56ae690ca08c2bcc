"""Calls of the handler's hooks, the effect of their answers on a conversation, and the replies that follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from typing import Any

from lmtpref.protocol import catalogue as say
from lmtpref.protocol.commands import Command
from lmtpref.protocol.errors import UsageError
from lmtpref.protocol.events import DEFERRING, CommandEvent, Connect, Data, Deliver, Disconnect, Event, Lhlo, Mail, Message, Rcpt, Reset
from lmtpref.protocol.extensions import Offer, greeting, lhlo_reply
from lmtpref.protocol.handler import Envelope, Handler, Peer, Recipient
from lmtpref.protocol.observer import Observer
from lmtpref.protocol.replies import NamingReply, Reply, in_brackets
from lmtpref.protocol.settings import Settings
from lmtpref.protocol.states import State
from lmtpref.protocol.transaction import Chunk, Transaction
from lmtpref.protocol.xforward import UNAVAILABLE, Origin

# After a rejected MAIL or RCPT, the rest of a pipelined group gets these replies (RFC 2920 section 3.1); they are not client errors.
_AFTER_A_REJECTION = frozenset({say.NEED_MAIL_503, say.NEED_RECIPIENT_503})
# In Python 3.11, reading a member of an Enum calls a function, so it is read once.
_READY, _SENDER, _RECIPIENT, _DATA = State.READY, State.SENDER, State.RECIPIENT, State.DATA


class Answering:
    """The state of one conversation, and its replies in `replies`, as octets.

    Each hook has a method that applies the handler's answer.
    `pending` is the question that waits for its answer.  `notifications` are questions whose answer changes nothing: reset, disconnect.
    `must_flush` says that the replies may not be held back.
    `force_closed` says that a 421 closed the conversation while the peer may still be sending.
    `transactions` counts the transactions begun, `messages` those whose message had all its final replies.
    MAIL and RCPT are answered 452 4.3.1 when the envelope occupies more than `envelope_room` octets; if that is negative, in any case.
    """

    def __init__(self, settings: Settings, peer: Peer, handler: Handler = DEFERRING, observers: tuple[Observer, ...] = ()) -> None:
        self.peer = peer
        self.settings = settings
        self.handler = handler
        self.next_handler: Handler | None = None
        self.observers = observers
        self.asks_commands = hasattr(handler, CommandEvent.hook)
        self.state = State.CONNECTED
        self.transaction: Transaction | None = None
        self.chunk: Chunk | None = None
        self.pending: Event | None = None
        self.notifications: list[Event] = []
        self.replies: list[bytes] = []
        self.must_flush = self.force_closed = False
        self.transactions = self.messages = 0
        self.envelope_room = inf
        self._origin: Origin = UNAVAILABLE
        self._errors = 0
        self._tls_required = settings.require_tls != "no" or peer.may_become_known
        for observer in observers:
            observer.connected(peer)

    @property
    def closed(self) -> bool:
        """Whether the conversation is over."""
        return self.state is State.CLOSED

    @property
    def tls_pending(self) -> bool:
        """Whether the TLS handshake begins after the replies are sent."""
        return self.state is State.TLS

    @property
    def current_transaction(self) -> Transaction:
        """The open transaction."""
        assert self.transaction is not None, "the order of commands lets nothing come here without MAIL"
        return self.transaction

    # Questions and answers --------------------------------------------------------------------------------------

    def ask(self, kind: type[Event], *arguments: Any) -> None:  # noqa: ANN401 - as the hook has them
        """Call the handler's hook and apply its answer; if the answer must be awaited, leave the question pending.

        If replies must be sent first, the hook is not called here; the driver calls it after sending them.
        """
        if self.must_flush:
            self.pending = kind(*arguments)
            return
        try:
            answer = getattr(self.handler, kind.hook)(*arguments)
        except BaseException as error:  # noqa: BLE001 - the driver decides, and logs it
            self.pending = kind(*arguments)
            self.pending.error = error
            return
        if answer is None:
            _APPLY[kind](self, None, *arguments)
            return
        self.pending = kind(*arguments)
        self.pending.answer = answer
        if isinstance(answer, Reply):
            try:
                self.answer(answer)
            except UsageError as error:
                self.pending.error = error

    def answer(self, reply: Reply | None = None) -> None:
        """Answer the pending question; None means the usual positive reply.

        Raises UsageError, and leaves the question pending, for a reply that the hook may not give.
        """
        event = self.pending
        if event is None:
            raise UsageError("nothing was asked")
        if reply is not None:
            event.check(reply)
            if reply.code == say.SHUTTING_DOWN_421.code:
                self.shut_down(reply)
                return
        self.pending = None
        _APPLY[type(event)](self, reply, *event.arguments)

    def fail(self) -> None:
        """Answer the pending question after a failure of the handler: never with a 5xx or a 2xx."""
        event = self.pending
        if event is None or not event.may_answer:
            self.answer()
        else:
            self.answer(say.LOCAL_ERROR_421 if isinstance(event, Connect) else say.LOCAL_ERROR_451)

    def _apply_command(self, reply: Reply | None, _peer: Peer, command: Command) -> None:
        if reply is None:
            self.carry_out(command)
        elif command.verb == "BDAT":
            self.reject_chunk(command, reply)
        else:
            self.send(reply, flush=not command.grouped)

    def _apply_connect(self, reply: Reply | None, _peer: Peer) -> None:
        self.state = State.GREETED if reply is None or reply.positive else State.REFUSED
        self.send(reply or greeting(self.settings.hostname))

    def _apply_lhlo(self, reply: Reply | None, peer: Peer, name: str) -> None:
        if reply is not None:
            self.send(reply)
            return
        self.abandon()
        peer.lhlo = name
        self._origin = UNAVAILABLE
        self.state = _READY
        self.send(lhlo_reply(Offer(self.settings, known=peer.known, secure=peer.secure)))

    def _apply_mail(self, reply: Reply | None, envelope: Envelope) -> None:
        if reply is None or reply.positive:
            self.transaction = Transaction(envelope, self.settings)
            self.transactions += 1
            self.state = _SENDER
        if reply is None:
            self.send_naming(_SENDER_OK, envelope.reverse_path.address if envelope.reverse_path else "")
        else:
            self.send(reply, flush=False)

    def _apply_rcpt(self, reply: Reply | None, _envelope: Envelope, recipient: Recipient) -> None:
        if reply is None or reply.positive:
            assert self.transaction is not None
            self.transaction.add_recipient(recipient)
            self.state = _RECIPIENT
        if reply is None:
            self.send_naming(_RECIPIENT_OK, recipient.path.address, recipient)
        else:
            self.send(reply, recipient, flush=False)

    def _apply_data(self, reply: Reply | None, _envelope: Envelope) -> None:
        if self.chunk is not None:
            # The octets of the first BDAT come before its reply.
            if reply is not None:
                self.current_transaction.refuse(reply)
            return
        if reply is None:
            self.state = _DATA
        self.send(reply or say.START_DATA_354)

    def _apply_message(self, reply: Reply | None, envelope: Envelope) -> None:
        if reply is not None:
            self._reject_all(reply)
        else:
            self.current_transaction.owed = len(envelope.recipients)

    def _apply_deliver(self, reply: Reply | None, _envelope: Envelope, recipient: Recipient) -> None:
        transaction = self.transaction
        assert transaction is not None
        transaction.owed -= 1
        if reply is None:
            self.send_naming(_ACCEPTED, recipient.path.address, recipient)
        else:
            self.send(reply, recipient, flush=False)
        if not transaction.owed:
            self.messages += 1
            self._end_transaction(transaction, answered=True)

    def _apply_nothing(self, _reply: Reply | None, *_arguments: object) -> None:
        pass

    def next_delivery(self) -> None:
        """Ask about the next recipient that needs its final reply."""
        transaction = self.transaction
        assert transaction is not None
        self.ask(Deliver, transaction.envelope, transaction.next_recipient())

    def _reject_all(self, reply: Reply) -> None:
        """Repeat one reply for each recipient that needs its final reply (RFC 2033 section 4.2)."""
        recipients = self.current_transaction.envelope.recipients
        for recipient in recipients:
            self.send(reply, recipient, flush=False)
        self.messages += 1
        self.abandon()

    # Replies ----------------------------------------------------------------------------------------------------

    def send(self, reply: Reply, recipient: Recipient | None = None, *, flush: bool = True) -> None:
        """Send a reply; unless `flush`, hold it back to be sent together with the next ones."""
        self.replies.append(reply.octets)
        if flush:
            self.must_flush = True
        for observer in self.observers:
            observer.replied(reply, recipient)

    def send_naming(self, reply: NamingReply, address: str, recipient: Recipient | None = None) -> None:
        """Send a reply that names an address; hold it back to be sent together with the next ones."""
        self.replies.append(reply.before + in_brackets(address) + reply.after)
        for observer in self.observers:
            observer.replied(reply.reply.naming(address), recipient)

    def reject(self, reply: Reply, *, flush: bool) -> None:
        """Reply to a client error; one error too many ends the conversation."""
        self._errors += reply not in _AFTER_A_REJECTION
        if self._errors > self.settings.max_errors:
            self.shut_down(say.TOO_MANY_ERRORS_421)
        else:
            self.send(reply, flush=flush)

    # The end of the conversation --------------------------------------------------------------------------------

    def shut_down(self, reply: Reply = say.SHUTTING_DOWN_421) -> None:
        """Send `reply`, a 421, and close; recipients without a final reply get no other one (RFC 2033 section 5)."""
        if not self.closed:
            event, self.pending = self.pending, None
            self.send(reply, event.recipient if isinstance(event, Deliver) else None)
            self.force_closed = True
            self.close()

    def tls_started(self) -> None:
        """Discard the state from before TLS (RFC 3207 section 4.2)."""
        self.peer.secure = True
        self.peer.lhlo = None
        if not self.closed:
            self.state = State.GREETED

    def close(self) -> None:
        """Close without another reply."""
        self.abandon()
        self.chunk = None
        self.state = State.CLOSED

    def abandon(self) -> None:
        """End the open transaction, if there is one, and notify the handler."""
        if self.transaction is not None:
            self.notifications.append(Reset(self.transaction.envelope))
            self._end_transaction(self.transaction, answered=False)

    def _end_transaction(self, transaction: Transaction, *, answered: bool) -> None:
        self.transaction = None
        self._origin = UNAVAILABLE
        self.state = _READY
        for observer in self.observers:
            observer.ended(transaction.envelope, answered)

    # Implemented by subclasses ----------------------------------------------------------------------------------

    def carry_out(self, command: Command) -> None:
        """Carry out one command, or reject it because of a client error."""
        raise NotImplementedError

    def reject_chunk(self, command: Command, reply: Reply) -> None:
        """Read and discard the octets of a chunk, and reject its message (RFC 3030 section 2)."""
        raise NotImplementedError


_SENDER_OK, _RECIPIENT_OK, _ACCEPTED = map(NamingReply, (say.SENDER_OK_250, say.RECIPIENT_OK_250, say.ACCEPTED_250))

_APPLY: Mapping[type[Event], Callable[..., None]] = {
    CommandEvent: Answering._apply_command,
    Connect: Answering._apply_connect,
    Lhlo: Answering._apply_lhlo,
    Mail: Answering._apply_mail,
    Rcpt: Answering._apply_rcpt,
    Data: Answering._apply_data,
    Message: Answering._apply_message,
    Deliver: Answering._apply_deliver,
    Reset: Answering._apply_nothing,
    Disconnect: Answering._apply_nothing,
}
