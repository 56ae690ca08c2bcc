"""What each command and each answer of the handler does to a conversation, and what is said to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from lmtpref.protocol import catalogue as say
from lmtpref.protocol.errors import PeerError
from lmtpref.protocol.extensions import Offer, check_mail_parameters, greeting, lhlo_reply
from lmtpref.protocol.handler import Answer, Envelope, Handler, Peer, Recipient
from lmtpref.protocol.replies import Reply
from lmtpref.protocol.settings import Settings
from lmtpref.protocol.states import State, out_of_order, refusal_of
from lmtpref.protocol.syntax import check_charset, expect_no_argument, parse_bdat, parse_mail, parse_rcpt
from lmtpref.protocol.transaction import Chunk, Transaction
from lmtpref.protocol.xforward import UNAVAILABLE, Origin, parse_xforward


class Event(NamedTuple):
    """A question for the handler: the name of the hook, and what it is asked with."""

    hook: str
    arguments: tuple[Any, ...]

    def ask(self, handler: Handler) -> Answer:
        """What the handler's hook returns; it may raise anything."""
        answer: Answer = getattr(handler, self.hook)(*self.arguments)
        return answer


Outcome = Event | tuple[Reply, ...]  # the handler is asked first, or this is said (which may be nothing)


class Conversation:
    """The state of one conversation.

    Each verb is a method that returns what follows, and raises PeerError for the client's mistakes; each hook has one
    that takes the handler's answer.  `asides` are questions whose answer nobody waits for: reset, disconnect.
    `messages` counts the messages that had all their final replies.
    """

    def __init__(self, settings: Settings, peer: Peer) -> None:
        self.peer = peer
        self.state = State.CONNECTED
        self.closed = self.securing = False
        self.messages = 0
        self.transaction: Transaction | None = None
        self.chunk: Chunk | None = None
        self.asides: list[Event] = []
        self.settings = settings
        self._origin: Origin = UNAVAILABLE

    @property
    def open(self) -> Transaction:
        """The transaction that is open."""
        assert self.transaction is not None, "the order of commands lets nothing come here without MAIL"
        return self.transaction

    @property
    def due(self) -> Event | None:
        """The question for the next recipient that is owed a reply."""
        if self.transaction is None or not self.transaction.owed:
            return None
        return Event("deliver", (self.transaction.envelope, self.transaction.next_recipient))

    # Commands ---------------------------------------------------------------------------------------------------

    def perform(self, verb: str, argument: str) -> Outcome:
        """Carry out one command."""
        command = _COMMANDS.get(verb)
        if command is None:
            raise PeerError(refusal_of(verb))
        if verb != "BDAT":  # which is rejected after its octets
            self._check_order(verb)
        check_charset(verb, argument, smtputf8=self.transaction is not None and self.transaction.envelope.smtputf8)
        return command(self, argument)

    def _check_order(self, verb: str) -> None:
        if refusal := out_of_order(verb, self.state, tls_needed=self.peer.owes_tls(self.settings.require_tls)):
            raise PeerError(refusal)

    def _lhlo(self, argument: str) -> Outcome:
        if not argument:
            raise PeerError(say.LHLO_SYNTAX_501)
        return Event("lhlo", (self.peer, argument.partition(" ")[0]))

    def _mail(self, argument: str) -> Outcome:
        path, parameters = parse_mail(argument)
        check_mail_parameters(parameters)
        if not argument.isascii() and "SMTPUTF8" not in parameters:
            raise PeerError(say.NOT_ASCII_500)
        envelope = Envelope(self.peer, path, dict(parameters), origin=self._origin)
        if (envelope.declared_octets or 0) > self.settings.max_message_octets:
            return (say.DECLARED_TOO_BIG_552,)
        return Event("mail", (envelope,))

    def _rcpt(self, argument: str) -> Outcome:
        path, parameters = parse_rcpt(argument)
        if parameters:
            raise PeerError(say.UNKNOWN_PARAMETER_555)
        envelope = self.open.envelope
        if len(envelope.recipients) >= self.settings.max_recipients:
            return (say.TOO_MANY_RECIPIENTS_452,)
        return Event("rcpt", (envelope, Recipient(path, parameters)))

    def _data(self, argument: str) -> Outcome:
        expect_no_argument(argument)
        if self.open.envelope.binary:
            raise PeerError(say.NEED_BDAT_503)
        return Event("data", (self.open.envelope,))

    def _bdat(self, argument: str) -> Outcome:
        octets, last, refusal = parse_bdat(argument)
        self.chunk = Chunk(octets, last)
        is_first = self.state is State.RECIPIENT
        self.state = State.CHUNKS if is_first else self.state
        if self.state is State.CHUNKS and refusal:
            self.open.refuse(refusal)
        return Event("data", (self.open.envelope,)) if is_first and not refusal else ()

    def _rset(self, argument: str) -> Outcome:
        expect_no_argument(argument)
        self.abandon()
        self._origin = UNAVAILABLE
        return (say.OK_250,)

    def _noop(self, _argument: str) -> Outcome:
        return (say.OK_250,)

    def _vrfy(self, argument: str) -> Outcome:
        if not argument:
            raise PeerError(say.VRFY_SYNTAX_501)
        return (say.NOT_VERIFIED_252,)

    def _help(self, _argument: str) -> Outcome:
        return (say.HELP_214,)

    def _xforward(self, argument: str) -> Outcome:
        if not self.peer.known:
            raise PeerError(say.STRANGER_550)
        self._origin = {**self._origin, **parse_xforward(argument)}
        return (say.XFORWARD_OK_250,)

    def _starttls(self, argument: str) -> Outcome:
        expect_no_argument(argument)
        if not self.settings.starttls:
            raise PeerError(say.NOT_IMPLEMENTED_502)
        if self.peer.secure:
            raise PeerError(say.ALREADY_SECURE_503)
        self.securing = True
        return (say.READY_FOR_TLS_220,)

    def _quit(self, argument: str) -> Outcome:
        expect_no_argument(argument)
        self.close()
        return (say.BYE_221,)

    # The message ------------------------------------------------------------------------------------------------

    def end_of_data(self, content: bytes | Reply) -> Outcome:
        """The final dot is here."""
        self.open.end_data(content)
        return self._end_of_content()

    def end_of_chunk(self) -> Outcome:
        """The octets of the chunk are here, taken or skipped (RFC 3030 section 2, RFC 2033 section 4.3)."""
        assert self.chunk is not None
        last, self.chunk = self.chunk.last, None
        if self.state is State.CHUNKS and last:
            self.open.end_chunks()
            return self._end_of_content()
        if self.state is State.CHUNKS:
            return (self.open.refusal or say.CHUNK_OK_250,)
        if self.state is State.SENDER and last:
            self.abandon()  # no recipient, no reply
        else:
            self._check_order("BDAT")  # no other state allows it
        return ()

    def _end_of_content(self) -> Outcome:
        refusal = self.open.refusal
        return Event("message", (self.open.envelope,)) if refusal is None else self._refuse_all(refusal)

    def _refuse_all(self, reply: Reply) -> Outcome:
        """The one reply, for each recipient that is owed one (RFC 2033 section 4.2)."""
        replies = (reply,) * len(self.open.envelope.recipients)
        self.messages += 1
        self.abandon()
        return replies

    # Answers ----------------------------------------------------------------------------------------------------

    def settle(self, event: Event, reply: Reply | None) -> Outcome:
        """Take the handler's answer; None is the usual positive one."""
        settle = _SETTLE.get(event.hook)
        return settle(self, reply, *event.arguments) if settle else ()

    def _settle_connect(self, reply: Reply | None, _peer: Peer) -> Outcome:
        self.state = State.GREETED if reply is None or reply.positive else State.REFUSED
        return (reply or greeting(self.settings.hostname),)

    def _settle_lhlo(self, reply: Reply | None, peer: Peer, name: str) -> Outcome:
        if reply is not None:
            return (reply,)
        self.abandon()
        peer.lhlo = name
        self._origin = UNAVAILABLE
        self.state = State.READY
        return (lhlo_reply(Offer(self.settings, known=peer.known, secure=peer.secure)),)

    def _settle_mail(self, reply: Reply | None, envelope: Envelope) -> Outcome:
        if reply is None or reply.positive:
            self.transaction = Transaction(envelope, self.settings)
            self.state = State.SENDER
        return (reply or say.SENDER_OK_250.naming(envelope.reverse_path.address if envelope.reverse_path else ""),)

    def _settle_rcpt(self, reply: Reply | None, _envelope: Envelope, recipient: Recipient) -> Outcome:
        if reply is None or reply.positive:
            self.open.add_recipient(recipient)
            self.state = State.RECIPIENT
        return (reply or say.RECIPIENT_OK_250.naming(recipient.path.address),)

    def _settle_data(self, reply: Reply | None, _envelope: Envelope) -> Outcome:
        if self.chunk is not None:  # the first BDAT: its octets come before its reply
            if reply is not None:
                self.open.refuse(reply)
            return ()
        if reply is None:
            self.state = State.DATA
        return (reply or say.START_DATA_354,)

    def _settle_message(self, reply: Reply | None, envelope: Envelope) -> Outcome:
        if reply is not None:
            return self._refuse_all(reply)
        self.open.owed = len(envelope.recipients)
        return ()

    def _settle_deliver(self, reply: Reply | None, _envelope: Envelope, recipient: Recipient) -> Outcome:
        self.open.owed -= 1
        if not self.open.owed:
            self.messages += 1
            self._end_transaction()
        return (reply or say.ACCEPTED_250.naming(recipient.path.address),)

    # Ends -------------------------------------------------------------------------------------------------------

    def secured(self) -> None:
        """TLS has begun: what was said before it is forgotten (RFC 3207 section 4.2)."""
        self.securing = False
        self.peer.secure = True
        self.peer.lhlo = None
        self._origin = UNAVAILABLE
        self.state = State.GREETED

    def close(self) -> None:
        """Nothing more will be said."""
        self.closed = True
        self.securing = False
        self.abandon()

    def abandon(self) -> None:
        """End the open transaction, if there is one, and let the handler know."""
        if self.transaction is not None:
            self.asides.append(Event("reset", (self.transaction.envelope,)))
            self._end_transaction()

    def _end_transaction(self) -> None:
        self.transaction = None
        self._origin = UNAVAILABLE
        self.state = State.READY


_COMMANDS: Mapping[str, Callable[[Conversation, str], Outcome]] = {
    "LHLO": Conversation._lhlo,
    "MAIL": Conversation._mail,
    "RCPT": Conversation._rcpt,
    "DATA": Conversation._data,
    "BDAT": Conversation._bdat,
    "RSET": Conversation._rset,
    "NOOP": Conversation._noop,
    "VRFY": Conversation._vrfy,
    "HELP": Conversation._help,
    "XFORWARD": Conversation._xforward,
    "STARTTLS": Conversation._starttls,
    "QUIT": Conversation._quit,
}
_SETTLE: Mapping[str, Callable[..., Outcome]] = {
    "connect": Conversation._settle_connect,
    "lhlo": Conversation._settle_lhlo,
    "mail": Conversation._settle_mail,
    "rcpt": Conversation._settle_rcpt,
    "data": Conversation._settle_data,
    "message": Conversation._settle_message,
    "deliver": Conversation._settle_deliver,
}
