"""The server's half of an LMTP conversation: octets in, replies out, and calls of the handler in between.

A session has no socket and no clock, and never waits.  The same octets, divided in any way, lead to the same hook calls and replies.
With a handler, it calls the hooks directly until one returns an awaitable::

    session = Session(settings, peer, handler)
    event = session.turn(octets)         # None, or the question that must be waited for
    send(session.take())

Without one, it leaves every question to its driver::

    session.feed(octets)
    while event := session.next_event():
        session.answer(event.ask(handler))
    send(session.take())

Four rules count the replies (RFC 2033 sections 4.2 and 4.3).
A command line gets one reply, and BDAT without LAST gets one.
The final dot, and BDAT with LAST, get one for each accepted RCPT, in RCPT order.
The server sends no other reply, except the greeting and a 421 that closes.
"""

from __future__ import annotations

from lmtpref.protocol.commands import read_command
from lmtpref.protocol.conversation import Conversation
from lmtpref.protocol.events import DEFERRING, CommandEvent, Connect, Disconnect, Event
from lmtpref.protocol.extensions import MAX_COMMAND_LINE_OCTETS
from lmtpref.protocol.framing import Framer
from lmtpref.protocol.handler import Handler, Peer
from lmtpref.protocol.observer import Observer
from lmtpref.protocol.peer_error import PeerError
from lmtpref.protocol.replies import Reply
from lmtpref.protocol.settings import Settings
from lmtpref.protocol.states import State
from lmtpref.protocol.transaction import Chunk

# In Python 3.11, reading a member of an Enum calls a function, so it is read once.
_DATA, _CHUNKS, _REPLIES, _CLOSED = State.DATA, State.CHUNKS, State.REPLIES, State.CLOSED
_WITHOUT_COMMANDS = frozenset({_DATA, State.TLS, _CLOSED})


class Session(Conversation):
    """The server's half of one conversation, and its octets.

    When `closed`, send what `take` returns, then close.  When `tls_pending`, send what `take` returns, call `tls_started`, and feed what
    comes through TLS (RFC 3207).
    `frames` counts the frames of the input: command lines, messages, chunks.  `busy` says that the last turn ended at its limit of
    steps, and another is due.
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
        """The number of buffered input octets, with those of an incomplete message."""
        return self._framer.kept_octets + (self.transaction.kept_octets if self.transaction else 0)

    # The driver's side ------------------------------------------------------------------------------------------

    def turn(self, octets: bytes | memoryview = b"", max_steps: int | None = None) -> Event | None:
        """Process `octets` until more are needed; return the question that must be awaited, or None.

        After `max_steps` commands and final replies, set `busy` and return None.
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
        """Return the next question; None if more octets are needed, or the conversation is over."""
        return self.turn(b"", max_steps)

    def feed(self, octets: bytes | memoryview) -> None:
        """Add octets from the peer.  After `closed` they are dropped."""
        if self.state is not _CLOSED:
            self._framer.feed(octets)
            for observer in self.observers:
                observer.fed(bytes(octets))

    def eof(self) -> None:
        """Note that the peer will send no more; input that has come is still answered."""
        self._eof = True
        if not self.closed:
            for observer in self.observers:
                observer.ended_input()

    def take(self) -> bytes:
        """Return the octets to send now, and remove them from the session."""
        replies = self.replies
        octets = replies[0] if len(replies) == 1 else b"".join(replies)
        replies.clear()
        self.must_flush = False
        if octets:
            for observer in self.observers:
                observer.taken(octets)
        return octets

    def tls_started(self) -> None:
        """Restart the conversation: all further input has come through TLS (RFC 3207 section 4.2).

        Plaintext that followed STARTTLS closes the conversation, because it would be executed as if it had come through TLS.
        """
        if not self._framer.is_empty:
            self.close()
        super().tls_started()

    def refuse_content(self, reply: Reply) -> None:
        """Drop the incoming content, and answer `reply` to each recipient at its end."""
        if self.state is _DATA:
            self._framer.discard()
            self.current_transaction.refuse(reply)
        elif self.state is _CHUNKS:
            self.current_transaction.refuse(reply)

    def lost(self) -> None:
        """Note that the connection is gone; `next_event` returns the remaining questions."""
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
        """Process one frame of the input; return False if none is complete, or none may be processed now."""
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
        """Process a chunk, or skip it if it will be rejected; return False until all its octets have come."""
        if self.state is _CHUNKS and self.current_transaction.has_room(chunk.octets):
            if (octets := self._framer.chunk(chunk.octets)) is None:
                return False
            self.current_transaction.add(octets)
            return True
        chunk.octets = self._framer.skip(chunk.octets)
        return not chunk.octets
