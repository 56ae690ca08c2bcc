"""The server's half of an LMTP conversation: octets in, questions out; answers in, octets out.

No socket, no clock, no waiting.  The same octets in any pieces give the same questions and the same replies::

    session.feed(octets)
    while event := session.next_event():
        session.answer(event.ask(handler))
    send(session.take())

Four rules count the replies (RFC 2033 sections 4.2 and 4.3): a command earns one; the final dot earns one for each RCPT
that was answered 2xx, in their order; nothing else is ever sent, but for the greeting and a 421 that closes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from lmtpref.protocol import catalogue as say
from lmtpref.protocol.errors import PeerError, UsageError
from lmtpref.protocol.extensions import MAX_COMMAND_LINE_OCTETS, check_mail_parameters
from lmtpref.protocol.framing import Framer
from lmtpref.protocol.handler import Answer, Envelope, Handler, Peer, Recipient
from lmtpref.protocol.replies import Reply
from lmtpref.protocol.sequence import GROUPED, OUT_OF_ORDER, State, refusal_of
from lmtpref.protocol.settings import Settings, greeting, greeting_back, unfit
from lmtpref.protocol.syntax import parse_mail, parse_rcpt, split_verb


# The first digits that a handler's own reply may have; where 2 is missing, None says yes.
_LEGAL_ANSWERS = dict.fromkeys(("connect", "lhlo", "data", "message"), (4, 5)) | dict.fromkeys(("mail", "rcpt", "deliver"), (2, 4, 5))


class Event(NamedTuple):
    """A question for the handler: the name of the hook, and what it is asked with."""

    hook: str
    arguments: tuple[Any, ...]

    def ask(self, handler: Handler) -> Answer:
        """What the handler's hook returns; it may raise anything."""
        answer: Answer = getattr(handler, self.hook)(*self.arguments)
        return answer


class Session:
    """The server's half of one conversation.  `urgent` says that what `take` returns may not be held back."""

    def __init__(self, settings: Settings, peer: Peer) -> None:
        self.peer = peer
        self.state = State.CONNECTED
        self.closed = False  # the server has said its last word: send what `take` returns, then close
        self.urgent = False
        self.abrupt = False  # closed by a 421, not by the peer's leave: it may still be sending
        self._settings = settings
        self._framer = Framer(max_line_octets=MAX_COMMAND_LINE_OCTETS, max_message_octets=settings.max_message_octets)
        self._pending: Event | None = Event("connect", (peer,))
        self._asides: deque[Event] = deque()  # questions whose answer nobody waits for: reset, disconnect
        self._envelope: Envelope | None = None
        self._owed = 0  # replies to the final dot not yet given
        self._refusal: Reply | None = None  # decided while the content is still coming
        self._errors = 0
        self._eof = False
        self._out: list[bytes] = []

    # The driver's side ------------------------------------------------------------------------------------------

    @property
    def in_transaction(self) -> bool:
        """Whether MAIL was accepted and the transaction has not ended."""
        return self._envelope is not None

    @property
    def waiting_octets(self) -> int:
        """How many octets of input are kept, a message under way included."""
        return len(self._framer) + (len(self._envelope.content) if self._envelope else 0)

    def feed(self, octets: bytes) -> None:
        """Take what the peer sent.  After `closed` it is dropped."""
        if not self.closed:
            self._framer.feed(octets)

    def eof(self) -> None:
        """The peer will send no more; what it has sent is still answered."""
        self._eof = True

    def next_event(self) -> Event | None:
        """The question that must be answered next; None when more octets are needed, or when all is over."""
        while self._pending is None:
            if self._asides:
                self._pending = self._asides.popleft()
            elif self.closed or not self._advance():
                if self._eof and not self.closed:
                    self._close()
                    continue
                break
        return self._pending

    def answer(self, reply: Reply | None = None) -> None:
        """Answer the pending question; None is the usual positive reply.

        Raises UsageError, and leaves the question open, for a reply that the hook may not give.
        """
        if self._pending is None:
            raise UsageError("nothing was asked")
        hook, arguments = self._pending
        if reply is not None and hook in _LEGAL_ANSWERS:
            _check_answer(hook, reply)
        self._pending = None
        settle: Callable[..., None] | None = getattr(self, f"_settle_{hook}", None)
        if settle:
            settle(reply, *arguments)
        if reply is not None and reply.code == say.SHUTTING_DOWN_421.code:
            self.abrupt = True
            self._close()

    def fail(self) -> None:
        """Answer the pending question for a handler that could not: never a 5xx, never 2xx."""
        hook = self._pending.hook if self._pending else None
        if hook in _LEGAL_ANSWERS:
            self.answer(say.LOCAL_ERROR_421 if hook == "connect" else say.LOCAL_ERROR_451)
        else:
            self.answer(None)

    def take(self) -> bytes:
        """The octets to send now, and no longer this session's to remember."""
        octets = b"".join(self._out)
        self._out.clear()
        self.urgent = False
        return octets

    def refuse_content(self, reply: Reply) -> None:
        """Drop the content that is coming in, and answer `reply` to each recipient after the final dot."""
        if self.state is State.DATA and not self._owed:
            self._refusal = self._refusal or reply
            self._framer.discard()

    def shut_down(self, reply: Reply = say.SHUTTING_DOWN_421) -> None:
        """Say `reply`, a 421, and close; a recipient that was not yet answered needs no other reply (RFC 2033 section 5)."""
        if not self.closed:
            self._pending = None
            self._say(reply)
            self.abrupt = True
            self._close()

    def lost(self) -> None:
        """The connection is gone: what is left to do is in `next_event`."""
        self._pending = None
        self._close()
        self._asides.append(Event("disconnect", (self.peer,)))

    # The peer's side --------------------------------------------------------------------------------------------

    def _advance(self) -> bool:
        """Take one frame from the input; False if there is none."""
        if self.state is State.DATA:
            content = self._framer.content()
            if content is not None:
                self._end_of_data(content)
            return content is not None
        try:
            line = self._framer.line()
            if line is not None:
                self._command(line)
        except PeerError as error:
            self._refuse(error.reply)
            return True
        return line is not None

    def _command(self, line: bytes) -> None:
        verb, argument = split_verb(line.decode("utf-8", "surrogateescape"))
        urgent = verb not in GROUPED
        try:
            reply = self._perform(verb, argument, is_ascii=line.isascii())
        except PeerError as error:
            self._refuse(error.reply, urgent=urgent)
        else:
            if reply:
                self._say(reply, urgent=urgent)

    def _perform(self, verb: str, argument: str, *, is_ascii: bool) -> Reply | None:
        """Carry out one command: the reply, or None if the handler is asked first."""
        command = _COMMANDS.get(verb)
        if command is None:
            raise PeerError(refusal_of(verb))
        if refusal := OUT_OF_ORDER[self.state].get(verb):
            raise PeerError(refusal)
        if not is_ascii and not self._may_be_utf8(verb, argument):
            raise PeerError(say.NOT_ASCII_500)
        return command(self, argument)

    def _may_be_utf8(self, verb: str, argument: str) -> bool:
        """Whether this command may hold octets above 127 (RFC 6531 sections 3.3 and 3.4), and they are UTF-8."""
        if any("\udc80" <= character <= "\udcff" for character in argument):
            return False
        if verb == "RCPT":
            return self._envelope is not None and self._envelope.smtputf8
        return verb in {"MAIL", "VRFY"} and "SMTPUTF8" in argument.upper().split(" ")

    def _lhlo(self, argument: str) -> None:
        if not argument or not argument.isascii():
            raise PeerError(say.LHLO_SYNTAX_501)
        self._ask("lhlo", self.peer, argument.split(" ")[0])

    def _mail(self, argument: str) -> None:
        path, parameters = parse_mail(argument)
        check_mail_parameters(parameters)
        envelope = Envelope(self.peer, path, parameters)
        if (envelope.declared_octets or 0) > self._settings.max_message_octets:
            raise PeerError(say.DECLARED_TOO_BIG_552)
        self._ask("mail", envelope)

    def _rcpt(self, argument: str) -> Reply | None:
        path, parameters = parse_rcpt(argument)
        if parameters:
            raise PeerError(say.UNKNOWN_PARAMETER_555)
        assert self._envelope is not None
        if len(self._envelope.recipients) >= self._settings.max_recipients:
            return say.TOO_MANY_RECIPIENTS_452
        self._ask("rcpt", self._envelope, Recipient(path, parameters))
        return None

    def _data(self, argument: str) -> None:
        _expect_none(argument)
        self._ask("data", self._envelope)

    def _rset(self, argument: str) -> Reply:
        _expect_none(argument)
        self._abandon()
        return say.OK_250

    def _noop(self, _argument: str) -> Reply:
        return say.OK_250

    def _vrfy(self, argument: str) -> Reply:
        if not argument:
            raise PeerError(say.VRFY_SYNTAX_501)
        return say.NOT_VERIFIED_252

    def _help(self, _argument: str) -> Reply:
        return say.HELP_214

    def _quit(self, argument: str) -> None:
        _expect_none(argument)
        self._say(say.BYE_221)
        self._close()

    def _end_of_data(self, content: bytes | Reply) -> None:
        envelope = self._envelope
        assert envelope is not None
        self._owed = len(envelope.recipients)
        refusal = self._refusal or (content if isinstance(content, Reply) else unfit(content, self._settings))
        if refusal is None and isinstance(content, bytes):
            envelope.content = content
            self._ask("message", envelope)
        elif refusal:
            self._refuse_all(refusal)
            self._abandon()

    # What follows from an answer ----------------------------------------------------------------------------------

    def _settle_connect(self, reply: Reply | None, _peer: Peer) -> None:
        self.state = State.REFUSED if reply else State.GREETED
        self._say(reply or greeting(self._settings))

    def _settle_lhlo(self, reply: Reply | None, peer: Peer, name: str) -> None:
        if reply is None:
            peer.lhlo = name
            self._abandon()
            self.state = State.READY
        self._say(reply or greeting_back(self._settings))

    def _settle_mail(self, reply: Reply | None, envelope: Envelope) -> None:
        if reply is None or reply.positive:
            self._envelope = envelope
            self.state = State.SENDER
        self._say(reply or say.SENDER_OK_250.naming(str(envelope.reverse_path or "")), urgent=False)

    def _settle_rcpt(self, reply: Reply | None, envelope: Envelope, recipient: Recipient) -> None:
        if reply is None or reply.positive:
            envelope.recipients.append(recipient)
            self.state = State.RECIPIENT
        self._say(reply or say.RECIPIENT_OK_250.naming(recipient.path.address), urgent=False)

    def _settle_data(self, reply: Reply | None, _envelope: Envelope) -> None:
        if reply is None:
            self.state = State.DATA
        self._say(reply or say.START_DATA_354)

    def _settle_message(self, reply: Reply | None, envelope: Envelope) -> None:
        if reply is None:
            self._ask("deliver", envelope, envelope.recipients[0])
        else:
            self._refuse_all(reply)
            self._end_transaction()

    def _settle_deliver(self, reply: Reply | None, envelope: Envelope, recipient: Recipient) -> None:
        self._say(reply or say.ACCEPTED_250.naming(recipient.path.address), urgent=False)
        self._owed -= 1
        if self._owed:
            self._ask("deliver", envelope, envelope.recipients[-self._owed])
        else:
            self._end_transaction()

    # Book-keeping -----------------------------------------------------------------------------------------------

    def _ask(self, hook: str, *arguments: object) -> None:
        self._pending = Event(hook, arguments)

    def _say(self, reply: Reply, *, urgent: bool = True) -> None:
        self._out.append(reply.octets)
        self.urgent = self.urgent or urgent

    def _refuse(self, reply: Reply, *, urgent: bool = True) -> None:
        """Answer a mistake of the client's; one too many ends the conversation."""
        self._errors += 1
        if self._errors > self._settings.max_errors:
            self.shut_down(say.TOO_MANY_ERRORS_421)
        else:
            self._say(reply, urgent=urgent)

    def _refuse_all(self, reply: Reply) -> None:
        """The one reply, for each recipient that is owed one (RFC 2033 section 4.2)."""
        self._out += [reply.octets] * self._owed
        self._owed = 0

    def _abandon(self) -> None:
        """End the open transaction, if there is one, and let the handler know."""
        if self._envelope is not None:
            self._asides.append(Event("reset", (self._envelope,)))
            self._owed = 0
            self._end_transaction()

    def _end_transaction(self) -> None:
        assert self._owed == 0, "every accepted recipient is answered exactly once"
        self._envelope = None
        self._refusal = None
        self.state = State.READY

    def _close(self) -> None:
        self.closed = True
        self._abandon()


_COMMANDS: Mapping[str, Callable[[Session, str], Reply | None]] = {
    "LHLO": Session._lhlo,
    "MAIL": Session._mail,
    "RCPT": Session._rcpt,
    "DATA": Session._data,
    "RSET": Session._rset,
    "NOOP": Session._noop,
    "VRFY": Session._vrfy,
    "HELP": Session._help,
    "QUIT": Session._quit,
}


def _expect_none(argument: str) -> None:
    if argument:
        raise PeerError(say.NO_ARGUMENT_501)


def _check_answer(hook: str, reply: Reply) -> None:
    if reply.code // 100 not in _LEGAL_ANSWERS[hook]:
        raise UsageError(f"{hook} may not be answered {reply.code}")
    if reply.enhanced is None and hook != "connect":
        raise UsageError(f"a reply to {hook} bears an enhanced status code (RFC 2034 section 4): {reply}")
