"""One connection: a session behind an asyncio transport, its handler asked in turn."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import traceback
from collections.abc import Awaitable, Coroutine
from math import inf
from typing import cast

from lmtpref.net.context import READ_BUFFER, Shared
from lmtpref.net.hook_errors import ENDS_SERVER, ask_unheard, raise_in_loop
from lmtpref.protocol.catalogue import BUSY_452, IDLE_421, SHUTTING_DOWN_421, TOO_MANY_CONNECTIONS_421, TOO_SLOW_421
from lmtpref.protocol.conversation import Event
from lmtpref.protocol.handler import Handler, Peer
from lmtpref.protocol.replies import Reply

log = logging.getLogger(__name__)

MAX_EVENTS_A_TURN = 256  # questions answered before other connections have their turn
MAX_FRAMES_A_TURN = 1024  # commands answered without a question, likewise; and before we look whether the peer reads
MAX_WAITING_OCTETS = 65_536  # of commands kept while a hook waits or the peer does not read; then reading stops
LINGER_SECONDS = 5.0  # how long a peer that we hung up on may take to hang up as well
_NO_LINGERING = struct.pack("ii", 1, 0)  # close() then sends RST


class Connection(asyncio.BufferedProtocol):
    """An LMTP connection.  The session decides; this asks its questions, and moves its octets when it may."""

    _timer: asyncio.TimerHandle  # what the clock does next: it looks whether the client got anywhere, or aborts once we have hung up

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._handler = shared.handler
        self.successor: Handler | None = None  # whom to ask from the next transaction on
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._blocked = False  # the peer does not read what we write
        self._reading: bool | None = True  # None while TLS begins
        self._eof = False
        self._lingering = False  # we have said our last word, and wait for the peer's
        self._counted = 0  # of shared.buffered_octets
        self._frames = 0  # that the session had taken when we last looked
        self._progress = self._loop.time()  # when the client last got anywhere
        self._deadline = inf  # of the transaction

    # What asyncio tells us ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the conversation, unless there are too many."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        self._session = self._shared.session(self._shared.settings, self._peer(), self)
        if len(self._shared.connections) >= self._shared.limits.max_connections:
            self._session.shut_down(TOO_MANY_CONNECTIONS_421)
        self._shared.connections.add(self)
        self._check_time()
        self._continue()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next octets go."""
        return READ_BUFFER.view

    def buffer_updated(self, nbytes: int) -> None:
        """Feed the session, and let it run unless it waits for a hook or for the peer."""
        session = self._session
        session.feed(READ_BUFFER.view[:nbytes])
        self._continue()
        if session.frames != self._frames or (session.in_transaction and session.in_content):
            self._frames = session.frames  # an octet of a message is progress; one of a command is none before the command is whole
            self._progress = self._loop.time()

    def eof_received(self) -> bool:
        """Answer what has come; the transport stays open for that."""
        self._session.eof()
        self._eof = True
        self._continue()
        return not self._session.peer.secure  # TLS knows no half-closed connection

    def pause_writing(self) -> None:
        """The peer does not read: ask no more questions on its behalf."""
        self._blocked = True

    def resume_writing(self) -> None:
        """It reads again."""
        self._blocked = False
        self._progress = self._loop.time()
        self._continue()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop what is under way; a recipient that was answered stays answered (RFC 5321 section 4.1.1.10)."""
        if self not in self._shared.connections:
            return
        self._timer.cancel()
        self._shared.connections.discard(self)
        if self._task:
            self._task.cancel()
        self._session.lost()
        self._shared.buffered_octets -= self._counted
        while event := self._session.next_event():
            ask_unheard(event, self._handler, self._shared.farewells)
            self._session.answer()
        del self._transport  # which has us, by TLS: a cycle that holds 256 KiB

    # What the server tells us -------------------------------------------------------------------------------------

    def wind_down(self, *, now: bool) -> None:
        """Close with 421: at once if `now`, else when no transaction is open."""
        if now or not self._session.in_transaction:
            self._say_goodbye(SHUTTING_DOWN_421)

    @property
    def in_transaction(self) -> bool:
        """Whether a mail transaction is open here."""
        return self._session.in_transaction

    def abort(self, *, reset: bool = False) -> None:
        """Drop the connection with whatever was not yet sent; if `reset`, let the peer's TCP know it for that."""
        if reset:
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGERING)
        self._transport.abort()

    def flush(self) -> None:
        """Send what the session has to say."""
        if octets := self._session.take():
            self._transport.write(octets)

    # The conversation -----------------------------------------------------------------------------------------------

    def _continue(self) -> None:
        """Go on, unless a hook waits or the peer does not read; then see to what is kept meanwhile."""
        if self not in self._shared.connections:
            return
        if self._task is None and not self._blocked:
            self._run()
        self._count()

    def _run(self) -> None:
        """Ask the session's questions until it needs more octets, a hook waits, or others should have their turn."""
        session = self._session
        for _ in range(MAX_EVENTS_A_TURN):
            event = session.next_event(MAX_FRAMES_A_TURN)
            if event is None or self._blocked:
                break
            if session.urgent:
                self.flush()
            if not self._ask(event):
                return
        self.flush()
        if event is not None or session.busy:
            self._loop.call_soon(self._continue)
        if self._shared.stopping:
            self.wind_down(now=False)
        if session.closed:
            self._hang_up()
        elif session.securing and not self._blocked:  # else once the transport, which TLS takes from us, says that it has room
            self._transport.pause_reading()
            self._reading = None
            self._task = self._loop.create_task(self._secure())

    def _ask(self, event: Event) -> bool:
        """Ask the handler; False if its hook waits, and the conversation with it."""
        if event.hook == "mail":
            self._begin_transaction()
        try:
            answer = event.ask(self._handler)
            if answer is None or isinstance(answer, Reply):
                self._session.answer(answer)
                return True
        except ENDS_SERVER as error:
            self._end_server(event, error)
            return False
        except BaseException:  # pytest.fail() raises no Exception
            self._failed(event)
            return True
        self.flush()
        self._task = self._loop.create_task(self._wait(event, answer))
        if isinstance(answer, Coroutine):  # which would complain if the client is gone before it begins
            self._task.add_done_callback(lambda _: answer.close())
        return False

    async def _wait(self, event: Event, answer: Awaitable[Reply | None]) -> None:
        begun = self._loop.time()
        try:
            async with asyncio.timeout(self._shared.limits.hook_seconds):
                reply = await answer
            self._session.answer(reply)
        except asyncio.CancelledError:  # of ours, or of something else that the hook waited for
            if cast(asyncio.Task[None], asyncio.current_task()).cancelling():
                raise
            self._failed(event)
        except GeneratorExit:  # the loop is gone
            raise
        except ENDS_SERVER as error:
            self._end_server(event, error)
            return
        except BaseException:
            self._failed(event)
        self._task = None
        self._progress = self._loop.time()  # our own time is not the client's
        self._deadline += self._progress - begun
        self.flush()  # known now, so it leaves now (RFC 2033 section 5)
        self._continue()

    def _begin_transaction(self) -> None:
        self._deadline = self._loop.time() + self._shared.limits.transaction_seconds
        if self.successor is not None:
            self._handler, self.successor = self.successor, None

    async def _secure(self) -> None:
        """Begin TLS; a handshake that fails loses the connection."""
        assert self._shared.tls is not None
        self._session.secured()  # what is fed from now on has come through TLS
        secure = None
        try:
            secure = await self._loop.start_tls(self._transport, self, self._shared.tls, server_side=True)
        except OSError as error:
            traceback.clear_frames(error.__traceback__)  # asyncio's have the error, which has them, and 256 KiB
        self._task = None
        if secure is None:
            self.connection_lost(None)  # asyncio does not tell of every failure
            return
        self._transport, self._reading = secure, True
        self._continue()

    def _failed(self, event: Event) -> None:
        log.exception("the %s hook failed", event.hook)
        self._session.fail()

    def _end_server(self, event: Event, error: BaseException) -> None:
        """Close with 421, then let the event loop raise `error`: the server's owner stops the server."""
        log.exception("the %s hook ended the server", event.hook)
        self._task = None
        self._shared.stopping = True
        self._say_goodbye(SHUTTING_DOWN_421)
        raise_in_loop(error)

    # Octets and time ------------------------------------------------------------------------------------------------

    def _count(self) -> None:
        """Keep what waits within bounds: refuse content beyond the server's, stop reading while nothing is taken out."""
        waiting = self._session.waiting_octets
        if not waiting and not self._counted:
            return
        shared = self._shared
        shared.buffered_octets += waiting - self._counted
        self._counted = waiting
        if shared.buffered_octets > shared.limits.max_buffered_octets:
            self._session.refuse_content(BUSY_452)
        if self._reading is None:
            return
        reading = waiting <= MAX_WAITING_OCTETS or (self._task is None and not self._blocked)
        if reading is not self._reading and not self._transport.is_closing():
            self._reading = reading
            self._transport.resume_reading() if reading else self._transport.pause_reading()

    def _say_goodbye(self, reply: Reply) -> None:
        """Close with `reply`, a 421; a hook that is still at work is stopped."""
        if self._task:
            self._task.cancel()
            self._task = None
        self._session.shut_down(reply)
        self.flush()
        self._hang_up()

    def _hang_up(self) -> None:
        """Close; but let a peer that may still be sending finish first, lest its octets make it lose our 421."""
        if self._transport.is_closing() or (self._lingering and not self._eof):
            return
        self._timer.cancel()
        patience = self._shared.limits.idle_seconds
        if self._session.abrupt and not self._eof and self._transport.can_write_eof():
            self._transport.write_eof()
            self._lingering = True
            patience = LINGER_SECONDS
        else:
            self._transport.close()
        self._timer = self._loop.call_later(patience, self._transport.abort)

    def _check_time(self) -> None:
        """Close a connection whose client got nowhere for too long, or whose transaction takes too long."""
        limits, now = self._shared.limits, self._loop.time()
        idle_end = now + limits.idle_seconds if self._task else self._progress + limits.idle_seconds
        end = min(idle_end, self._deadline) if self._session.in_transaction and not self._task else idle_end
        if end > now:
            look_again = now + limits.transaction_seconds / 4  # a transaction that begins meanwhile may end before the others' time
            self._timer = self._loop.call_at(min(end, look_again), self._check_time)
        elif self._blocked:
            self._transport.abort()
        else:
            self._say_goodbye(IDLE_421 if idle_end <= now else TOO_SLOW_421)

    def _peer(self) -> Peer:
        name = self._transport.get_extra_info("peername")
        address, port = name[:2] if isinstance(name, tuple) and len(name) >= 2 else (None, None)
        return Peer(address, port, known=self._shared.is_known(address))
