"""The server's half of an LMTP conversation: octets in, replies out, and a handler that is asked in between.

A session has no socket and no clock, and never waits.  The same octets in any pieces give the same questions and the same replies.
With a handler, it asks the hooks directly until one returns an awaitable::

    session = Session(settings, peer, handler)
    event = session.turn(octets)         # None, or the question that must be waited for
    send(session.take())

Without one, it leaves every question to the code that drives it::

    session.feed(octets)
    while event := session.next_event():
        session.answer(event.ask(handler))
    send(session.take())

Four rules count the replies (RFC 2033 sections 4.2 and 4.3): a command line earns one; the final dot, and BDAT with LAST, earn one
for each RCPT that was answered 2xx, in their order; BDAT without LAST earns one.
Nothing else is ever sent, except the greeting and a 421 that closes.
"""

from __future__ import annotations

from lmtpref.protocol.commands import read_command
from lmtpref.protocol.conversation import Conversation
from lmtpref.protocol.errors import PeerError
from lmtpref.protocol.events import DEFERRING, CommandEvent, Connect, Disconnect, Event
from lmtpref.protocol.extensions import MAX_COMMAND_LINE_OCTETS
from lmtpref.protocol.framing import Framer
from lmtpref.protocol.handler import Handler, Peer
from lmtpref.protocol.observer import Observer
from lmtpref.protocol.replies import Reply
from lmtpref.protocol.settings import Settings
from lmtpref.protocol.states import State
from lmtpref.protocol.transaction import Chunk

# In Python 3.11 to read a member from an Enum calls a function, so it is done once.
_DATA, _CHUNKS, _REPLIES, _CLOSED = State.DATA, State.CHUNKS, State.REPLIES, State.CLOSED
_WITHOUT_COMMANDS = frozenset({_DATA, State.TLS, _CLOSED})


class Session(Conversation):
    """The server's half of one conversation, and its octets.

    When `closed`, send what `take` returns, then close.  When `tls_pending`, send what `take` returns, call `tls_started`, and feed what
    comes through TLS (RFC 3207).
    `frames` counts what was taken from the input: command lines, messages, chunks.  `busy` says that the last turn ended because it
    had gone on for long enough, and another is due.
    """

    def __init__(self, settings: Settings, peer: Peer, handler: Handler = DEFERRING, observers: tuple[Observer, ...] = ()) -> None:
        super().__init__(settings, peer, handler, observers)
        self.busy = False
        self.frames = 0
        self._framer = Framer(max_line_octets=MAX_COMMAND_LINE_OCTETS, max_message_octets=settings.max_message_octets)
        self._eof = False
        self.pending = Connect(peer)

    @property
    def in_transaction(self) -> bool:
        """Whether MAIL was accepted and the transaction has not ended."""
        return self.transaction is not None

    @property
    def in_content(self) -> bool:
        """Whether the next octets belong to a message or a chunk, not to a command."""
        return self.state is _DATA or self.chunk is not None

    @property
    def waiting_octets(self) -> int:
        """How many octets of input are kept, a message under way included."""
        return self._framer.kept_octets + (self.transaction.kept_octets if self.transaction else 0)

    # The driver's side ------------------------------------------------------------------------------------------

    def turn(self, octets: bytes | memoryview = b"", max_steps: int | None = None) -> Event | None:
        """Take what the peer sent, and go on until more is needed; return the question that must be waited for, if there is one.

        After `max_steps` commands and final replies `busy` is set, and None returned.
        """
        if octets:
            self.feed(octets)
        self.busy = False
        steps = 0
        while self.pending is None:
            if self.notifications:
                self._notify()
            elif steps == max_steps:
                self.busy = True
                break
            elif self.state is _REPLIES:
                self.next_delivery()
                steps += 1
            elif (self.chunk is not None or not self._framer.is_empty) and self._advance():
                steps += 1
            elif self._eof and not self.closed:
                self.close()
            else:
                break
        return self.pending

    def next_event(self, max_steps: int | None = None) -> Event | None:
        """Return the question that must be answered next; None when more octets are needed, or when all is over."""
        return self.turn(b"", max_steps)

    def feed(self, octets: bytes | memoryview) -> None:
        """Take what the peer sent.  After `closed` it is dropped."""
        if self.state is not _CLOSED:
            self._framer.feed(octets)
            for observer in self.observers:
                observer.fed(bytes(octets))

    def eof(self) -> None:
        """Note that the peer will send no more; what it has sent is still answered."""
        self._eof = True
        if not self.closed:
            for observer in self.observers:
                observer.ended_input()

    def take(self) -> bytes:
        """Return the octets to send now, and forget them."""
        replies = self.replies
        octets = replies[0] if len(replies) == 1 else b"".join(replies)
        replies.clear()
        self.must_flush = False
        if octets:
            for observer in self.observers:
                observer.taken(octets)
        return octets

    def tls_started(self) -> None:
        """Begin the conversation anew: what is fed from now on has come through TLS (RFC 3207 section 4.2).

        Plaintext that followed STARTTLS closes the conversation, because it would be run as if it had come through TLS.
        """
        if not self._framer.is_empty:
            self.close()
        super().tls_started()

    def refuse_content(self, reply: Reply) -> None:
        """Drop the content that is coming in, and answer `reply` to each recipient at its end."""
        if self.state is _DATA:
            self._framer.discard()
            self.current_transaction.refuse(reply)
        elif self.state is _CHUNKS:
            self.current_transaction.refuse(reply)

    def lost(self) -> None:
        """Note that the connection is gone; what is left to do is in `next_event`."""
        if not self.closed:
            for observer in self.observers:
                observer.lost()
        self.pending = None
        self.close()
        self.notifications.append(Disconnect(self.peer))

    # The peer's side --------------------------------------------------------------------------------------------

    def _notify(self) -> None:
        event = self.notifications.pop(0)
        self.ask(type(event), *event.arguments)

    def _advance(self) -> bool:
        """Take one frame from the input; False if there is none, or none may be taken now."""
        if self.chunk is not None:
            return self._advance_chunk(self.chunk)
        if self._framer.is_empty:
            return False
        if self.state in _WITHOUT_COMMANDS:
            return self.state is _DATA and self._advance_data()
        try:
            if (line := self._framer.line()) is None:
                return False
        except PeerError as error:
            self.frames += 1
            self.reject(error.reply, flush=True)
            return True
        self.frames += 1
        command = read_command(line)
        for observer in self.observers:
            observer.received(command)
        if self.asks_commands:
            self.ask(CommandEvent, self.peer, command)
        else:
            self.carry_out(command)
        return True

    def _input_waits(self) -> bool:
        return not self._framer.is_empty

    def _advance_data(self) -> bool:
        if (content := self._framer.content()) is None:
            return False
        self.frames += 1
        self.end_of_data(content)
        return True

    def _advance_chunk(self, chunk: Chunk) -> bool:
        if not self._take_chunk(chunk):
            return False
        self.frames += 1
        try:
            self.end_of_chunk()
        except PeerError as error:
            self.reject(error.reply, flush=True)
        return True

    def _take_chunk(self, chunk: Chunk) -> bool:
        """Take a chunk, or skip it if it will be rejected; False until all its octets have come."""
        if self.state is _CHUNKS and self.current_transaction.has_room(chunk.octets):
            if (octets := self._framer.chunk(chunk.octets)) is None:
                return False
            self.current_transaction.add(octets)
            return True
        chunk.octets = self._framer.skip(chunk.octets)
        return not chunk.octets
