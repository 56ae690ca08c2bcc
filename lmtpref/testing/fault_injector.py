"""Fault injection: a handler between a session and its own handler, which injects the requested faults."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from functools import partial
from typing import Any

from lmtpref.net.context import Interposer, ServedConnection
from lmtpref.protocol.commands import Command
from lmtpref.protocol.events import EVENT_OF
from lmtpref.protocol.handler import Answer, Envelope, Handler, Peer, Recipient
from lmtpref.protocol.maybe import resolve
from lmtpref.protocol.replies import Reply
from lmtpref.testing.faults import HOOKLESS, Fault
from lmtpref.testing.recorder import ConversationRecorder, Recorder

PIECE_SECONDS = 0.01  # between two pieces of a reply, so that a waiting client reads them one by one

# Commands for which no hook exists, or not for each occurrence.
_ASKED_OF_US = HOOKLESS | {"BDAT"}


class FaultInjector(Interposer):
    """Call another handler, unless a fault comes first; report that handler's exceptions to a `Recorder`.

    One injector serves one connection.  It has the hook `before_command`, so it sees each command first.
    """

    observer: ConversationRecorder

    def __init__(
        self, recorder: Recorder, handler: Handler, connection: ServedConnection, conversation_recorder: ConversationRecorder | None = None
    ) -> None:
        self.observer = conversation_recorder or ConversationRecorder(recorder)
        self._recorder, self._handler, self._connection = recorder, handler, connection
        self._verb = ""  # of the current command
        self._waiting = 0  # hooks of the handler that have not answered yet
        self._rest = b""  # the unsent pieces of a reply
        recorder.conversations.add(self)

    def around(self, handler: Handler) -> FaultInjector:
        """Return an injector that wraps another handler on the same connection."""
        self._recorder.conversations.discard(self)
        return FaultInjector(self._recorder, handler, self._connection, self.observer)

    @property
    def has_pending_hook(self) -> bool:
        """Whether a hook of the handler has not answered yet; the delay of a fault does not count."""
        return self._waiting > 0

    # The hooks --------------------------------------------------------------------------------------------------

    def before_command(self, _peer: Peer, command: Command) -> Answer:
        """Answer a command that has no other hook."""
        self._verb = command.verb
        return self._ask("before_command", command.verb, None) if command.verb in _ASKED_OF_US else None

    def connect(self, peer: Peer) -> Answer:
        """Answer for the connection."""
        return self._ask("connect", "CONNECT", None, peer)

    def lhlo(self, peer: Peer, name: str) -> Answer:
        """Answer LHLO."""
        return self._ask("lhlo", "LHLO", None, peer, name)

    def mail(self, envelope: Envelope) -> Answer:
        """Answer MAIL."""
        return self._ask("mail", "MAIL", None, envelope)

    def rcpt(self, envelope: Envelope, recipient: Recipient) -> Answer:
        """Answer RCPT."""
        return self._ask("rcpt", "RCPT", recipient.path.address, envelope, recipient)

    def data(self, envelope: Envelope) -> Answer:
        """Answer DATA; for BDAT, `before_command` has answered."""
        return self._ask("data", "DATA" if self._verb == "DATA" else None, None, envelope)

    def message(self, envelope: Envelope) -> Answer:
        """Call the handler with the message."""
        return self._ask("message", None, None, envelope)

    def deliver(self, envelope: Envelope, recipient: Recipient) -> Answer:
        """Answer for one recipient after the end of the message."""
        return self._ask("deliver", ".", recipient.path.address, envelope, recipient)

    def reset(self, envelope: Envelope) -> Answer:
        """Notify the handler."""
        return self._ask("reset", None, None, envelope)

    def disconnect(self, peer: Peer) -> Answer:
        """Notify the handler, and end."""
        self._recorder.conversations.discard(self)
        return self._ask("disconnect", None, None, peer)

    # The handler's answer, or a fault ---------------------------------------------------------------------------

    def _ask(self, hook: str, command: str | None, address: str | None, *arguments: Any) -> Answer:  # noqa: ANN401 - as the hook has them
        fault = self._recorder.faults.meet(command, address) if command else None
        return self._inject_at_hook(fault, hook, arguments) if fault else self._asked(hook, arguments)

    def _asked(self, hook: str, arguments: tuple[Any, ...]) -> Answer:
        if hook == "before_command":
            return None
        try:
            answer: Answer = getattr(self._handler, hook)(*arguments)
            if isinstance(answer, Reply):
                EVENT_OF[hook].check(answer)
        except BaseException as error:
            self._recorder.failed(error)
            raise
        return answer if answer is None or isinstance(answer, Reply) else self._awaited(hook, answer)

    async def _awaited(self, hook: str, answer: Awaitable[Reply | None]) -> Reply | None:
        self._waiting += 1
        try:
            reply = await answer
            if reply is not None:
                EVENT_OF[hook].check(reply)
        except BaseException as error:
            if not isinstance(error, asyncio.CancelledError):
                self._recorder.failed(error)
            raise
        finally:
            self._waiting -= 1
        return reply

    async def _inject_at_hook(self, fault: Fault, hook: str, arguments: tuple[Any, ...]) -> Reply | None:
        await asyncio.sleep(fault.seconds)
        if fault.ending == "stall":
            await asyncio.get_running_loop().create_future()
        if fault.ending and fault.octets is None:
            await self._end(reset=fault.ending == "reset")
        answer = fault.answer or self._asked(hook, arguments)
        reply = await resolve(answer)
        if fault.piece:
            self._connection.write_next = partial(self._write_in_pieces, fault.piece)
        elif fault.octets is not None:
            self.observer.sent_limit = fault.octets
            self._connection.write_next = partial(self._write_and_close, fault.octets)
        return reply

    async def _end(self, *, reset: bool) -> None:
        """Close the connection now; earlier replies have been sent."""
        self.observer.close("S")
        self._connection.drop(reset=reset)
        await asyncio.get_running_loop().create_future()

    def _write_and_close(self, limit: int, octets: bytes) -> None:
        self._connection.transport.write(octets[:limit])
        self.observer.close("S")
        self._connection.drop()

    def _write_in_pieces(self, piece: int, octets: bytes) -> None:
        self._rest = octets
        self._connection.write_next = self._write_after_rest
        self._connection.suspend(self._send_pieces(piece))

    def _write_after_rest(self, octets: bytes) -> None:
        """Write the last reply of a server that closes while pieces are still to be sent."""
        rest, self._rest = self._rest, b""
        self._connection.transport.write(rest + octets)

    async def _send_pieces(self, piece: int) -> None:
        while self._rest:
            self._connection.transport.write(self._rest[:piece])
            self._rest = self._rest[piece:]
            await asyncio.sleep(PIECE_SECONDS)
        self._connection.write_next = None
