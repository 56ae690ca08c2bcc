"""One connection: a session on an asyncio transport, and the calls of its handler's hooks."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Awaitable, Callable, Coroutine
from typing import Literal, cast

from lmtpref.net.backpressure import Backpressure
from lmtpref.net.context import CROWDED_READ_OCTETS, READ_BUFFER, Interposer, ServerContext
from lmtpref.net.deadlines import Deadlines
from lmtpref.net.hook_errors import ENDS_SERVER, ask_without_reply, end_server
from lmtpref.net.tls import begin_tls, certificate_names
from lmtpref.protocol.catalogue import BUSY_452, SHUTTING_DOWN_421
from lmtpref.protocol.connection_log import CURRENT_CONNECTION
from lmtpref.protocol.events import Event
from lmtpref.protocol.handler import Handler, Peer
from lmtpref.protocol.replies import Reply
from lmtpref.protocol.server_limits import MAX_READ_OCTETS

log = logging.getLogger(__name__)

MAX_STEPS_A_TURN = 128  # commands, chunks and final replies before other connections are served
# Turns without a pause, after close_notify: enough for a transaction with 1,000 recipients, each with a command and a final reply.
MAX_FINAL_TURNS = 16
# How long the peer may take to close, after this server has sent its last reply.
LINGER_SECONDS = 5.0
_NO_LINGERING = struct.pack("ii", 1, 0)  # close() then sends RST


class Connection(asyncio.BufferedProtocol):
    """An LMTP connection.  The session decides; this class calls the hooks and moves the octets."""

    # The next check of the deadlines; after this server's close, the abort.
    _timer: asyncio.TimerHandle

    def __init__(self, context: ServerContext, peer: Peer | None = None, require_tls: Literal["no", "remote", "yes"] | None = None) -> None:
        self._context = context
        # The client that a load balancer names; None means the other end of the transport.
        self._peer = peer
        # The setting of the listener; None means the server's.
        self._require_tls = require_tls
        # Replaces the transport's `write` for the next octets.
        self.write_next: Callable[[bytes], None] | None = None
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._pressure = Backpressure()
        self._reading: bool | None = True  # None during the TLS handshake
        self._eof = False
        # Whether this server has sent its last reply, and waits for the peer to close.
        self._lingering = False
        # This connection's share of context.buffered_octets.
        self._counted = 0
        # The session's counters at the last check.
        self._frames = self._transactions = self._messages = 0
        self._deadlines = Deadlines(self._loop.time(), self._loop.time())

    # Called by asyncio ----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the conversation, or reject the connection if there are too many."""
        # TLS replaces the first of these, and stays above the second.
        self._transport = self._socket_transport = cast(asyncio.Transport, transport)  # uvloop's does not inherit from it
        settings = self._context.settings_of(self._require_tls)
        self._session = self._context.open_session(self, settings, self._peer or self._context.peer_of(transport))
        self._envelope_room = self._context.limits.envelope_room(settings)
        if refusal := self._context.admit(self, self._session.peer):
            self._session.shut_down(refusal)
        self._check_time()
        self._continue()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the buffer for the next octets."""
        return READ_BUFFER.view[:CROWDED_READ_OCTETS] if self._context.crowded else READ_BUFFER.view

    def buffer_updated(self, nbytes: int) -> None:
        """Feed the session, and let it run unless it waits for a hook or for the peer."""
        session = self._session
        session.feed(READ_BUFFER.view[:nbytes])
        # A full buffer means that the socket holds more, which uvloop would read before it serves other connections.
        if nbytes == MAX_READ_OCTETS:
            self._end_turn()
        self._continue()
        # Every octet of a message is progress, but a command is progress only when it is complete.
        if session.in_transaction and session.in_content:
            self._deadlines.progress = self._loop.time()

    def eof_received(self) -> bool:
        """Answer the commands that have come; the transport stays open for the replies."""
        self._session.eof()
        self._eof = True
        self._continue()
        # asyncio has no half-closed TLS connections: the transport closes when this method returns.
        if secure := self._session.peer.secure:
            self._finish_backlog()
        return not secure

    def pause_writing(self) -> None:
        """Process no more input while the peer does not read."""
        self._pressure.write_paused = True

    def resume_writing(self) -> None:
        """Process input again: the peer reads."""
        self._pressure.write_paused = False
        self._deadlines.progress = self._loop.time()
        self._continue()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the running hook.  The final replies that were sent remain valid (RFC 5321 section 4.1.1.10)."""
        if self not in self._context.connections:
            return
        CURRENT_CONNECTION.set(self._session.peer.connection)
        self._timer.cancel()
        self._context.dismiss(self, self._session.peer)
        if self._task:
            self._task.cancel()
        self._close_unstarted()
        self._session.lost()
        self._context.buffered_octets -= self._counted
        while event := self._session.turn():
            ask_without_reply(event, self._session.handler, self._context)
            self._session.answer()
        # Under TLS, the transports refer to this object: a cycle that holds 256 KiB.
        del self._transport, self._socket_transport

    def _close_unstarted(self) -> None:
        """Close a hook's coroutine that was never awaited, because the peer did not read."""
        event = self._session.pending
        if event is not None and self._task is None and isinstance(event.answer, Coroutine):
            event.answer.close()

    # Called by the server -----------------------------------------------------------------------------------------

    def wind_down(self, *, now: bool) -> None:
        """Close with 421: at once if `now`, else when no transaction is open."""
        if now or not self._session.in_transaction:
            self._say_goodbye(SHUTTING_DOWN_421)

    @property
    def in_transaction(self) -> bool:
        """Whether a mail transaction is open here."""
        return self._session.in_transaction

    @property
    def transport(self) -> asyncio.Transport:
        """The current transport; TLS replaces it."""
        return self._transport

    def switch_handler(self, handler: Handler) -> None:
        """Use `handler` from the next MAIL on."""
        present = self._session.handler
        self._session.next_handler = present.around(handler) if isinstance(present, Interposer) else handler

    def drop(self, *, reset: bool = False) -> None:
        """Close without another reply.  Written replies are still sent; if `reset`, they are discarded, and a TCP RST is sent."""
        self._session.close()
        if reset:
            self.abort(reset=True)
        else:
            self._transport.close()

    def suspend(self, work: Coroutine[object, object, None]) -> None:
        """Suspend the conversation until `work` is done."""
        self._suspend(self._until_done(work))

    def abort(self, *, reset: bool = False) -> None:
        """Drop the connection and its unsent octets; if `reset`, send a TCP RST."""
        if reset:
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGERING)
        self._transport.abort()

    def flush(self) -> None:
        """Send the session's pending replies; drop them if the client is gone, because asyncio would log each write."""
        if (octets := self._session.take()) and not (self._transport.is_closing() or self._socket_transport.is_closing()):
            write, self.write_next = self.write_next or self._transport.write, None
            write(octets)

    # The conversation -----------------------------------------------------------------------------------------------

    def _continue(self) -> None:
        """Run the session, unless a hook waits or the peer does not read; then check the bounds of the buffered octets."""
        if self not in self._context.connections:
            return
        if self._pressure.may_run:
            self._run()
        self._count()

    def _end_turn(self) -> None:
        """Continue after the other connections have been served."""
        if not self._pressure.has_backlog:
            self._pressure.has_backlog = True
            self._loop.call_soon(self._next_turn)

    def _next_turn(self) -> None:
        self._pressure.has_backlog = False
        self._continue()

    def _finish_backlog(self) -> None:
        """Answer the backlog at once, up to MAX_FINAL_TURNS; drop the rest, whose replies the client could not get."""
        for _ in range(MAX_FINAL_TURNS):
            if not self._pressure.has_backlog:
                return
            self._next_turn()
        self.drop()

    def _run(self) -> None:
        """Call hooks until the session needs more octets, a hook waits, or the turn is over."""
        session = self._session
        CURRENT_CONNECTION.set(session.peer.connection)
        session.envelope_room = -1 if self._context.crowded else self._envelope_room
        last_frame = session.frames + MAX_STEPS_A_TURN
        while event := session.turn(max_steps=last_frame - session.frames):
            # If the answer is known already, its reply shares a write with the replies before it.
            if not (isinstance(event.answer, asyncio.Future) and event.answer.done()):
                self.flush()
            if self._pressure.write_paused or not self._settle(event):
                return
        self.flush()
        if session.busy and not self._pressure.write_paused:
            self._end_turn()
        self._note_progress()
        if self._context.stopping:
            self.wind_down(now=False)
        if session.closed:
            self._hang_up()
        # TLS takes over the transport only after all replies are written.
        elif session.tls_pending and not self._pressure.write_paused:
            self._transport.pause_reading()
            self._reading = None
            self._suspend(self._secure())

    def _note_progress(self) -> None:
        """Move the deadlines if a command, a transaction or a message began or ended."""
        session, now = self._session, self._loop.time()
        if session.transactions != self._transactions:
            self._transactions, self._deadlines.transaction = session.transactions, now
        if session.frames != self._frames:
            self._frames, self._deadlines.progress = session.frames, now
        if session.messages != self._messages:
            self._messages, self._deadlines.message = session.messages, now

    def _settle(self, event: Event) -> bool:
        """Call the hook of a pending question; return False if the hook waits, which suspends the conversation."""
        try:
            answer = event.outcome(self._session.handler)
            if isinstance(answer, asyncio.Future) and answer.done():
                answer = cast(Reply | None, answer.result())
            if answer is None or isinstance(answer, Reply):
                self._session.answer(answer)
                return True
        except ENDS_SERVER as error:
            self._end_server(event, error)
            return False
        except BaseException:  # pytest.fail() raises no Exception
            self._failed(event)
            return True
        task = self._suspend(self._wait(event, answer))
        # An unstarted coroutine would warn if the client has disconnected.
        if isinstance(answer, Coroutine):
            task.add_done_callback(lambda _: answer.close())
        return False

    def _suspend(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Suspend the conversation for `work`, which calls `_resume` at its end."""
        self._task = self._loop.create_task(work)
        self._pressure.hook_waits = True
        return self._task

    def _resume(self, began: float) -> None:
        """Continue after work that began at `began`; its duration is not counted against the client."""
        self._task = None
        self._pressure.hook_waits = False
        self._deadlines.extend(began, self._loop.time())

    async def _wait(self, event: Event, answer: Awaitable[Reply | None]) -> None:
        began = self._loop.time()
        try:
            async with asyncio.timeout(self._context.limits.hook_seconds):
                reply = await answer
            self._session.answer(reply)
        # Either our task was cancelled, or something that the hook awaited.
        except asyncio.CancelledError:
            if cast(asyncio.Task[None], asyncio.current_task()).cancelling():
                raise
            self._failed(event)
        # Either the loop is gone, or the hook raised it.
        except GeneratorExit:
            if not self._loop.is_running():
                raise
            self._failed(event)
        except ENDS_SERVER as error:
            self._end_server(event, error)
            return
        except BaseException:
            self._failed(event)
        self._resume(began)
        # The reply is known now, so it is sent now (RFC 2033 section 5).
        self.flush()
        self._continue()

    async def _until_done(self, work: Coroutine[object, object, None]) -> None:
        began = self._loop.time()
        await work
        self._resume(began)
        self._continue()

    async def _secure(self) -> None:
        """Perform the TLS handshake; a failure or a timeout closes the connection."""
        assert self._context.tls is not None
        began = self._loop.time()
        context, idle_seconds = self._context.tls, self._context.limits.idle_seconds
        self._session.tls_started()  # from here on, all input has come through TLS
        secure = await begin_tls(self._transport, self, context, handshake_seconds=idle_seconds, shutdown_seconds=LINGER_SECONDS)
        if secure is not None:
            self._context.identify(self._session.peer, certificate_names(secure))
        self._resume(began)
        if secure is None:
            self.connection_lost(None)  # asyncio does not report every failure
            return
        self._transport, self._reading = secure, True
        self._continue()

    def _failed(self, event: Event) -> None:
        log.exception("the %s hook failed", event.hook)
        self._session.fail()

    def _end_server(self, event: Event, error: BaseException) -> None:
        """Close with 421, and let the event loop raise `error`, which stops the server."""
        log.exception("the %s hook ended the server", event.hook)
        self._resume(self._loop.time())
        end_server(error, self._context)
        self._say_goodbye(SHUTTING_DOWN_421)

    # Octets and time ------------------------------------------------------------------------------------------------

    def _count(self) -> None:
        """Keep the buffered octets within bounds: reject content over the server's limit, and stop reading under backpressure."""
        waiting, context = self._session.waiting_octets, self._context
        context.buffered_octets += waiting - self._counted
        self._counted = waiting
        if context.crowded:
            self._session.refuse_content(BUSY_452)
        reading = self._pressure.may_read(waiting, crowded=context.crowded)
        if self._reading not in {None, reading} and not self._transport.is_closing():
            self._reading = reading
            self._transport.resume_reading() if reading else self._transport.pause_reading()

    def _say_goodbye(self, reply: Reply) -> None:
        """Close with `reply`, a 421, and cancel a running hook."""
        if self._task:
            self._task.cancel()
            self._task = None
            self._pressure.hook_waits = False
        self._session.shut_down(reply)
        self.flush()
        self._hang_up()

    def _hang_up(self) -> None:
        """Close; first let a peer that is still sending finish, because unread octets would make TCP discard our 421."""
        if self._transport.is_closing() or (self._lingering and not self._eof):
            return
        self._timer.cancel()
        patience = self._context.limits.idle_seconds
        may_linger = self._context.may_linger(self._session.peer) and self._transport.can_write_eof()
        if self._session.force_closed and not self._eof and may_linger:
            self._transport.write_eof()
            self._lingering = True
            patience = LINGER_SECONDS
        else:
            self._transport.close()
        self._timer = self._loop.call_later(patience, self._transport.abort)

    def _check_time(self) -> None:
        """Close a connection whose client missed a deadline."""
        limits, now = self._context.limits, self._loop.time()
        end, reply = self._deadlines.next(limits, in_transaction=self._session.in_transaction)
        if self._pressure.hook_waits:
            end = now + limits.idle_seconds
        if end > now:
            # A transaction that begins before the next check may have an earlier deadline.
            look_again = now + limits.transaction_seconds / 4
            self._timer = self._loop.call_at(min(end, look_again), self._check_time)
        elif self._pressure.write_paused:
            self._transport.abort()
        else:
            self._say_goodbye(reply)
