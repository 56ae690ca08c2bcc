"""A session that is watched, and that has the faults it is told to have."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from lmtpref.net.connection import Connection
from lmtpref.net.journal import JournalSession, Record
from lmtpref.protocol.catalogue import SHUTTING_DOWN_421
from lmtpref.protocol.conversation import Event, Outcome
from lmtpref.protocol.errors import PeerError, UsageError
from lmtpref.protocol.handler import Answer, Handler, Peer
from lmtpref.protocol.replies import Reply
from lmtpref.protocol.session import Session
from lmtpref.protocol.settings import Settings
from lmtpref.protocol.states import GROUPED, State
from lmtpref.testing.faults import HOOKLESS, Fault
from lmtpref.testing.recorder import Message, Watch

PIECE_SECONDS = 0.01  # between two pieces of a reply, so that a client that waits for it reads them one by one

_ASKED_OF_US = HOOKLESS | {"BDAT"}  # what the handler is not asked about, or not each time
_COMMANDS = {"connect": "CONNECT", "lhlo": "LHLO", "mail": "MAIL", "rcpt": "RCPT", "deliver": "."}


class _Watched(Event):
    """A question that goes by way of the session."""

    __slots__ = ()

    def ask(self, handler: Handler) -> Answer:
        session: WatchedSession
        session, event = self.arguments
        return session.ask(event, handler)


class WatchedSession(Session):
    """A session whose questions go by way of its watch; commands that no hook is for become questions as well."""

    def __init__(self, settings: Settings, peer: Peer, line: Connection, *, watch: Watch) -> None:
        super().__init__(settings, peer)
        self._line, self._watch = line, watch
        self._recording = watch.record()
        self._message: Message | None = None  # whose recipients are being answered
        self._spoiling: Fault | None = None  # what is done to the next reply
        self._held = bytearray()  # of replies that go out in pieces
        self._piece = 0  # octets at a time
        self._sending_pieces = self._idle = self._cut = False
        watch.conversations.add(self)

    @property
    def at_work(self) -> bool:
        """Whether a hook is being waited for; a fault that takes its time is none."""
        return self._pending is not None and not self._idle

    # What the connection calls --------------------------------------------------------------------------------------

    def feed(self, octets: bytes | memoryview) -> None:
        """Take what the peer sent."""
        if not self.closed:
            self._recording.add("C", bytes(octets))
        super().feed(octets)

    def eof(self) -> None:
        """The peer will send no more."""
        if not self.closed:
            self._recording.close("C")
        super().eof()

    def take(self) -> bytes:
        """The octets to send now."""
        octets = super().take()
        if octets:
            self._recording.add("S", octets)
        return octets

    def next_event(self, max_frames: int | None = None) -> Event | None:
        """The question that must be answered next, or a reply that must leave in pieces before."""
        self._sending_pieces = bool(self._held)
        event = Event("pieces", ()) if self._held else super().next_event(max_frames)
        return event and _Watched(event.hook, (self, event))

    def answer(self, reply: Reply | None = None) -> None:
        """Answer the pending question."""
        if self._sending_pieces:
            return
        if self._cut:
            self._pending = None
        elif self._pending and self._pending.hook == "command":
            event, self._pending = self._pending, None
            self._carry_out(reply, *event.arguments)
        else:
            try:
                super().answer(reply)
            except UsageError as error:
                self._watch.failed(error)
                raise

    def shut_down(self, reply: Reply = SHUTTING_DOWN_421) -> None:
        """Say `reply`, a 421, and close; whatever was held back leaves before it."""
        self._out.append(bytes(self._held))
        self._held.clear()
        self._spoiling = None
        self._finish_message()
        super().shut_down(reply)

    def lost(self) -> None:
        """The connection is gone."""
        if not self.closed:
            self._recording.close("C")
        self._held.clear()
        self._finish_message()
        self._watch.conversations.discard(self)
        super().lost()

    # Questions ------------------------------------------------------------------------------------------------------

    def ask(self, event: Event, handler: Handler) -> Answer:
        """The answer to `event`: the handler's, unless a fault is in its way."""
        if event.hook == "pieces":
            return self._send_pieces()
        if event.hook == "message":
            self._message = Message.of(event.arguments[0])
        command, address = self._occasion(event)
        fault = self._watch.faults.meet(command, address) if command else None
        return self._disturbed(fault, event, handler) if fault else self._asked(event, handler)

    def _occasion(self, event: Event) -> tuple[str | None, str | None]:
        """The command that `event` is about, if faults can be at it, and its recipient."""
        if event.hook == "command":
            return event.arguments[0], None
        if event.hook == "data":  # BDAT has had its own question
            return (None if self.chunk else "DATA"), None
        address = event.arguments[1].path.address if event.hook in {"rcpt", "deliver"} else None
        return _COMMANDS.get(event.hook), address

    def _asked(self, event: Event, handler: Handler) -> Answer:
        if event.hook == "command":
            return None
        try:
            answer = event.ask(handler)
        except BaseException as error:
            self._watch.failed(error)
            raise
        return answer if answer is None or isinstance(answer, Reply) else self._awaited(answer)

    async def _awaited(self, answer: Awaitable[Reply | None]) -> Reply | None:
        try:
            return await answer
        except (asyncio.CancelledError, GeneratorExit):  # the connection is gone
            raise
        except BaseException as error:
            self._watch.failed(error)
            raise

    async def _disturbed(self, fault: Fault, event: Event, handler: Handler) -> Reply | None:
        self._idle = True
        await asyncio.sleep(fault.seconds)
        if fault.ending == "stall":
            await asyncio.get_running_loop().create_future()
        self._idle = False
        if fault.ending and fault.octets is None:
            self._end(reset=fault.ending == "reset")
            return None
        if fault.piece or fault.octets is not None:
            self._spoiling = fault
        answer = fault.answer or self._asked(event, handler)
        return answer if answer is None or isinstance(answer, Reply) else await answer

    def _end(self, *, reset: bool) -> None:
        """End the connection here and now; what was said before has left."""
        self._cut = True
        self._recording.close("S")
        self._finish_message()
        self.close()
        if reset:
            self._line.abort(reset=True)

    async def _send_pieces(self) -> None:
        while self._held:
            self._out.append(bytes(self._held[: self._piece]))
            del self._held[: self._piece]
            self._line.flush()
            await asyncio.sleep(PIECE_SECONDS)

    # Commands without a hook ----------------------------------------------------------------------------------------

    def _perform(self, verb: str, argument: str) -> Outcome:
        return Event("command", (verb, argument)) if verb in _ASKED_OF_US else super()._perform(verb, argument)

    def _carry_out(self, reply: Reply | None, verb: str, argument: str) -> None:
        """Do what the command says, unless `reply` is its answer."""
        if reply and reply.code == SHUTTING_DOWN_421.code:
            self.shut_down(reply)
            return
        try:
            if reply is None or verb == "BDAT":
                outcome = super()._perform(verb, argument)
                self._follow(self._refuse_chunk(outcome, reply) if reply else outcome, urgent=verb not in GROUPED)
            else:
                self._say(reply, urgent=True)
        except PeerError as error:
            self._refuse(error.reply, urgent=True)

    def _refuse_chunk(self, outcome: Outcome, reply: Reply) -> Outcome:
        """The octets of the chunk are on their way all the same, so its message is refused (RFC 3030 section 2)."""
        if isinstance(outcome, Event):
            return self.settle(outcome, reply)
        if self.state is State.CHUNKS:
            self.open.refuse(reply)
        return outcome

    # Replies --------------------------------------------------------------------------------------------------------

    def _say(self, reply: Reply, *, urgent: bool) -> None:
        if self._cut:
            return
        if self._message:
            self._note_reply(self._message, reply)
        spoiling, self._spoiling = self._spoiling, None
        if spoiling and spoiling.piece:
            self._piece = spoiling.piece
        if self._held or (spoiling and spoiling.piece):
            self._held += reply.octets
            return
        super()._say(reply, urgent=urgent)
        if spoiling:
            self._out[-1] = reply.octets[: spoiling.octets]
            self._end(reset=False)

    def _note_reply(self, message: Message, reply: Reply) -> None:
        message.replies.append(reply)
        if len(message.replies) == len(message.recipients):
            self._finish_message()

    def _finish_message(self) -> None:
        message, self._message = self._message, None
        if message:
            self._watch.received(message)


class JournaledSession(JournalSession, WatchedSession):
    """A watched session that keeps a journal; a reply that a fault cut off is not in it."""

    def __init__(self, settings: Settings, peer: Peer, line: Connection, *, watch: Watch, tell: Callable[[Record], None]) -> None:
        WatchedSession.__init__(self, settings, peer, line, watch=watch)
        self._begin_journal(tell)

    def _note(self, record: Record, reply: Reply) -> None:
        if not self._cut:
            super()._note(record, reply)

    def _begin(self, reply: Reply) -> None:
        if not self._cut:
            super()._begin(reply)


def watched_session(
    settings: Settings, peer: Peer, line: Connection, *, watch: Watch, tell: Callable[[Record], None] | None = None
) -> WatchedSession:
    """Return a session that is watched by `watch`, and keeps a journal if there is one to `tell`."""
    if tell is None:
        return WatchedSession(settings, peer, line, watch=watch)
    return JournaledSession(settings, peer, line, watch=watch, tell=tell)
