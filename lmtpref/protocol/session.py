"""The server's half of an LMTP conversation: octets in, questions out; answers in, octets out.

No socket, no clock, no waiting.  The same octets in any pieces give the same questions and the same replies::

    session.feed(octets)
    while event := session.next_event():
        session.answer(event.ask(handler))
    send(session.take())

Four rules count the replies (RFC 2033 sections 4.2 and 4.3): a command line earns one; the final dot, and BDAT with LAST,
earn one for each RCPT that was answered 2xx, in their order; BDAT without LAST earns one.  Nothing else is ever sent, but
for the greeting and a 421 that closes.
"""

from __future__ import annotations

from lmtpref.protocol import catalogue as say
from lmtpref.protocol.conversation import Conversation, Event, Outcome
from lmtpref.protocol.errors import PeerError, UsageError
from lmtpref.protocol.extensions import MAX_COMMAND_LINE_OCTETS
from lmtpref.protocol.framing import Framer
from lmtpref.protocol.handler import Peer
from lmtpref.protocol.replies import Reply
from lmtpref.protocol.settings import Settings
from lmtpref.protocol.states import GROUPED, State
from lmtpref.protocol.syntax import split_verb
from lmtpref.protocol.transaction import Chunk

# The first digits that a handler's own reply may have; where 2 is missing, None says yes.
_LEGAL_ANSWERS = dict.fromkeys(("connect", "lhlo", "data", "message"), (4, 5)) | dict.fromkeys(("mail", "rcpt", "deliver"), (2, 4, 5))
# What a group is told whose MAIL or RCPTs were refused (RFC 2920 section 3.1): no mistakes of the client's.
_BEHIND_A_REFUSAL = frozenset({say.NEED_MAIL_503, say.NEED_RECIPIENT_503})
_GROUPED_HOOKS = frozenset({"mail", "rcpt", "message", "deliver"})  # whose replies may be sent with those that follow


class Session(Conversation):
    """The server's half of one conversation, and its octets.

    `urgent` says that what `take` returns may not be held back.  `closed` says that the server has said its last word:
    send what `take` returns, then close; `abrupt` that it did so by a 421, while the peer may still be sending.
    `securing` says that TLS begins behind what `take` returns (RFC 3207): call `secured` before what comes through it is fed.
    `frames` counts what was taken from the input: command lines, messages, chunks.
    """

    def __init__(self, settings: Settings, peer: Peer) -> None:
        super().__init__(settings, peer)
        self.urgent = self.abrupt = self.busy = False
        self.frames = 0
        self._framer = Framer(max_line_octets=MAX_COMMAND_LINE_OCTETS, max_message_octets=settings.max_message_octets)
        self._pending: Event | None = Event("connect", (peer,))
        self._errors = 0
        self._eof = False
        self._out: list[bytes] = []

    @property
    def in_transaction(self) -> bool:
        """Whether MAIL was accepted and the transaction has not ended."""
        return self.transaction is not None

    @property
    def in_content(self) -> bool:
        """Whether what comes next is of a message, or of a chunk, and no command."""
        return self.state is State.DATA or self.chunk is not None

    @property
    def waiting_octets(self) -> int:
        """How many octets of input are kept, a message under way included."""
        return len(self._framer.waiting) + (self.transaction.kept_octets if self.transaction else 0)

    # The driver's side ------------------------------------------------------------------------------------------

    def feed(self, octets: bytes | memoryview) -> None:
        """Take what the peer sent.  After `closed` it is dropped."""
        if not self.closed:
            self._framer.feed(octets)

    def eof(self) -> None:
        """The peer will send no more; what it has sent is still answered."""
        self._eof = True

    def next_event(self, max_frames: int | None = None) -> Event | None:
        """The question that must be answered next; None when more octets are needed, or when all is over.

        None as well, and `busy` is set, when `max_frames` commands in a row were answered without a question.
        """
        frames = 0
        self.busy = False
        while self._pending is None:
            if self.asides:
                self._pending = self.asides.pop(0)
            elif self.transaction is not None and self.transaction.owed:
                self._pending = self.due
            elif self.closed or self.securing:
                break
            elif frames == max_frames:
                self.busy = True
                break
            elif self._advance():
                frames += 1
                self.frames += 1
            elif self._eof:
                self.close()
            else:
                break
        return self._pending

    def answer(self, reply: Reply | None = None) -> None:
        """Answer the pending question; None is the usual positive reply.

        Raises UsageError, and leaves the question open, for a reply that the hook may not give.
        """
        event = self._pending
        if event is None:
            raise UsageError("nothing was asked")
        if reply is not None:
            check_answer(event.hook, reply)
            if reply.code == say.SHUTTING_DOWN_421.code:
                self.shut_down(reply)
                return
        self._pending = None
        self._follow(self.settle(event, reply), urgent=event.hook not in _GROUPED_HOOKS)

    def fail(self) -> None:
        """Answer the pending question for a handler that could not: never a 5xx, never 2xx."""
        hook = self._pending.hook if self._pending else None
        if hook in _LEGAL_ANSWERS:
            self.answer(say.LOCAL_ERROR_421 if hook == "connect" else say.LOCAL_ERROR_451)
        else:
            self.answer()

    def take(self) -> bytes:
        """The octets to send now, and no longer this session's to remember."""
        octets = b"".join(self._out)
        self._out.clear()
        self.urgent = False
        return octets

    def secured(self) -> None:
        """TLS begins: what is fed from now on has come through it, and begins the conversation anew (RFC 3207 section 4.2).

        Octets that came in clear behind STARTTLS end it: they would be run as if they had come inside.
        """
        if self._framer.waiting:
            self.close()
        super().secured()

    def refuse_content(self, reply: Reply) -> None:
        """Drop the content that is coming in, and answer `reply` to each recipient at its end."""
        if self.state is State.DATA and self._pending is None and not self.open.owed:
            self._framer.discard()
            self.open.refuse(reply)
        elif self.state is State.CHUNKS:
            self.open.refuse(reply)

    def shut_down(self, reply: Reply = say.SHUTTING_DOWN_421) -> None:
        """Say `reply`, a 421, and close; a recipient that was not yet answered needs no other reply (RFC 2033 section 5)."""
        if not self.closed:
            self._pending = None
            self._say(reply, urgent=True)
            self.abrupt = True
            self.close()

    def lost(self) -> None:
        """The connection is gone: what is left to do is in `next_event`."""
        self._pending = None
        self.close()
        self.asides.append(Event("disconnect", (self.peer,)))

    # The peer's side --------------------------------------------------------------------------------------------

    def _advance(self) -> bool:
        """Take one frame from the input; False if there is none."""
        if not self._framer.waiting and self.chunk is None:
            return False
        if self.state is State.DATA:
            return self._advance_data()
        return self._advance_line() if self.chunk is None else self._advance_chunk(self.chunk)

    def _advance_line(self) -> bool:
        urgent = True
        try:
            if (line := self._framer.line()) is None:
                return False
            verb, argument = split_verb(line)
            urgent = verb not in GROUPED
            self._follow(self._perform(verb, argument), urgent=urgent)
        except PeerError as error:
            self._refuse(error.reply, urgent=urgent)
        return True

    def _advance_data(self) -> bool:
        if (content := self._framer.content()) is None:
            return False
        self._follow(self.end_of_data(content), urgent=False)
        return True

    def _advance_chunk(self, chunk: Chunk) -> bool:
        if not self._take_chunk(chunk):
            return False
        try:
            self._follow(self.end_of_chunk(), urgent=not chunk.last)
        except PeerError as error:
            self._refuse(error.reply, urgent=True)
        return True

    def _perform(self, verb: str, argument: str) -> Outcome:
        outcome = self.perform(verb, argument)
        if self.securing and self._framer.waiting:  # an attempt to have it run inside TLS (RFC 3207 section 4)
            self.close()
            return (say.PIPELINED_TLS_554,)
        return outcome

    def _take_chunk(self, chunk: Chunk) -> bool:
        """Take a chunk, or skip it if it will be refused; False until all its octets have come."""
        if self.state is State.CHUNKS and self.open.has_room(chunk.octets):
            if (octets := self._framer.chunk(chunk.octets)) is None:
                return False
            self.open.add(octets)
            return True
        chunk.octets = self._framer.skip(chunk.octets)
        return not chunk.octets

    # Book-keeping -----------------------------------------------------------------------------------------------

    def _follow(self, outcome: Outcome, *, urgent: bool) -> None:
        """Do what follows: ask the handler, or say something."""
        if isinstance(outcome, Event):
            self._pending = outcome
        else:
            for reply in outcome:
                self._say(reply, urgent=urgent)

    def _say(self, reply: Reply, *, urgent: bool) -> None:
        self._out.append(reply.octets)
        self.urgent = self.urgent or urgent

    def _refuse(self, reply: Reply, *, urgent: bool) -> None:
        """Answer a mistake of the client's; one too many ends the conversation."""
        self._errors += reply not in _BEHIND_A_REFUSAL
        if self._errors > self.settings.max_errors:
            self.shut_down(say.TOO_MANY_ERRORS_421)
        else:
            self._say(reply, urgent=urgent)


def check_answer(hook: str, reply: Reply) -> None:
    """Return if `reply` is one that `hook` may give.  Raises UsageError if not."""
    if hook not in _LEGAL_ANSWERS:
        raise UsageError(f"{hook} is not answered")
    if reply.code // 100 not in _LEGAL_ANSWERS[hook]:
        raise UsageError(f"{hook} may not be answered {reply.code}")
    if reply.enhanced is None and hook != "connect":
        raise UsageError(f"a reply to {hook} bears an enhanced status code (RFC 2034 section 4): {reply}")
