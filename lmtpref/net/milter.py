"""A milter: a filter that Postfix and Sendmail ask at each RCPT, and at the end of a message."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable
from pathlib import Path as FilePath
from typing import Protocol

from lmtpref.net.accept_errors import AcceptErrors
from lmtpref.net.listeners import BACKLOG, bind, spell
from lmtpref.net.milter_packets import (
    ACCEPT,
    CONTENT,
    CONTENT_UNANSWERED,
    CONTINUE,
    UNANSWERED,
    PacketError,
    agree,
    field_of,
    framed,
    parse_mail_packet,
    parse_rcpt_packet,
    read_packet,
    reply_packet,
)
from lmtpref.protocol.catalogue import LOCAL_ERROR_451, MESSAGE_TOO_BIG_552
from lmtpref.protocol.endpoints import UnixAddress, parse_address
from lmtpref.protocol.handler import Envelope
from lmtpref.protocol.replies import Reply
from lmtpref.protocol.server_limits import Limits
from lmtpref.protocol.settings import Settings
from lmtpref.protocol.syntax import Path

# The default limit of connections.
MAX_CONNECTIONS = 1_000
# The defaults of the server.
_MAX_MESSAGE_OCTETS = Settings().max_message_octets
_MAX_BUFFERED_OCTETS = Limits().max_buffered_octets

log = logging.getLogger(__name__)


class MilterJudge(Protocol):
    """The decisions of a milter.  None leaves the decision to the MTA."""

    async def rcpt(self, envelope: Envelope, path: Path) -> Reply | None:
        """Return the rejection of a recipient; append a recipient that the judge knows and accepts to the envelope."""

    async def message(self, envelope: Envelope) -> Reply | None:
        """Return the rejection of a message whose recipients are all in the envelope."""


class Milter:
    """A filter for MTAs, whose `judge` may be replaced at any time.

    When the judge raises an exception, the client gets 451 4.3.0.  An address that cannot be read is left to the MTA.  A
    message is read only if all its recipients are the judge's.  One larger than `max_message_octets` is rejected; while
    the messages under way have more than `max_buffered_octets`, others are left to the MTA.  Connections over
    `max_connections` are closed at once; the MTA then acts as it does without a milter.
    """

    def __init__(
        self,
        judge: MilterJudge,
        *,
        max_message_octets: int = _MAX_MESSAGE_OCTETS,
        max_buffered_octets: int = _MAX_BUFFERED_OCTETS,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self.judge = judge
        self.max_message_octets = max_message_octets
        self.max_buffered_octets = max_buffered_octets
        self.max_connections = max_connections
        self.buffered_octets = 0
        self.addresses: list[str] = []
        self._servers: list[asyncio.Server] = []
        self._connections: set[asyncio.Task[None]] = set()
        self._accept_errors = AcceptErrors()

    async def listen(self, address: str, group: str | int | None = None) -> None:
        """Listen on HOST:PORT of loopback, or unix:PATH, for that group.  Raises UsageError for an address that cannot be bound."""
        listening = bind(parse_address(address), group=group)
        self.addresses.append(spell(listening))
        self._accept_errors.attach(asyncio.get_running_loop())
        self._servers.append(await asyncio.start_server(self._accepted, sock=listening, backlog=BACKLOG))

    async def aclose(self) -> None:
        """Stop, and close every MTA's connection."""
        for server in self._servers:
            server.close()
        for task in self._connections:
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections)
        self._remove_sockets()
        self._accept_errors.detach(asyncio.get_running_loop())

    def _remove_sockets(self) -> None:
        for place in map(parse_address, self.addresses):
            if isinstance(place, UnixAddress):
                FilePath(place.path).unlink(missing_ok=True)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._connections.add(task)
        conversation = _Conversation(self)
        try:
            if len(self._connections) <= self.max_connections:
                await _converse(conversation, reader, writer)
        except PacketError as error:
            # The error's text is complete without a traceback.
            log.error("milter: %s", error)  # noqa: TRY400
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError, asyncio.CancelledError):
            pass
        finally:
            conversation.reset()
            self._connections.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


async def _converse(conversation: _Conversation, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        letter, data = await read_packet(reader)
        if letter == b"Q":
            return
        if answer := await conversation.answer(letter, data):
            writer.write(framed(answer))
            await writer.drain()
        # One packet per turn of the loop, even from a client that pipelines.
        await asyncio.sleep(0)


class _Conversation:
    """One MTA's connection: the negotiated options, and the open transaction.

    `_claimed` says whether every recipient so far is the judge's.  `_content` is None if the message is not needed.
    """

    def __init__(self, milter: Milter) -> None:
        self._milter = milter
        self._options = 0
        self._envelope: Envelope | None = None
        self._claimed = True
        self._content: bytearray | None = None
        self._oversized = False

    def reset(self) -> None:
        """Forget the transaction."""
        self._drop_content()
        self._envelope, self._claimed, self._oversized = None, True, False

    async def answer(self, letter: bytes, data: bytes) -> bytes:
        """Return the answer to a packet; empty if it has none."""
        # Abort, or another client: the sender is no longer valid.
        if letter in b"AKM":
            self.reset()
        if letter in UNANSWERED:
            return b""
        if letter in b"RE":
            return await (self._rcpt(parse_rcpt_packet(data)) if letter == b"R" else self._end(data))
        return self._note(letter, data)

    def _note(self, letter: bytes, data: bytes) -> bytes:
        """Return the answer to a packet for which the judge is not asked."""
        if letter == b"O":
            packet, self._options = agree(data)
            return packet
        if letter == b"M":
            self._envelope = parse_mail_packet(data)
        if letter in CONTENT:
            self._take(letter, data)
            return b"" if self._options & CONTENT_UNANSWERED == CONTENT_UNANSWERED else CONTINUE
        return ACCEPT if letter == b"T" and not self._wanted else CONTINUE

    @property
    def _wanted(self) -> bool:
        return self._claimed and self._envelope is not None and bool(self._envelope.recipients)

    async def _rcpt(self, path: Path | None) -> bytes:
        if self._envelope is None or path is None:
            self._claimed = False
            return CONTINUE
        before = len(self._envelope.recipients)
        answer = await self._ask(self._milter.judge.rcpt(self._envelope, path))
        if answer == CONTINUE and len(self._envelope.recipients) == before:
            self._claimed = False
        return answer

    def _take(self, letter: bytes, data: bytes) -> None:
        """Keep a part of the message, if its content is needed."""
        if self._content is None and self._wanted and letter == b"L" and not self._oversized:
            self._content = bytearray()
        if self._content is not None:
            part = field_of(data, self._options) if letter == b"L" else b"\r\n" if letter == b"N" else data
            self._keep(part)

    def _keep(self, part: bytes) -> None:
        assert self._content is not None
        self._content += part
        self._milter.buffered_octets += len(part)
        self._oversized = len(self._content) > self._milter.max_message_octets
        if self._oversized or self._milter.buffered_octets > self._milter.max_buffered_octets:
            self._drop_content()
            self._claimed = self._oversized

    def _drop_content(self) -> None:
        if self._content is not None:
            self._milter.buffered_octets -= len(self._content)
            self._content = None

    async def _end(self, data: bytes) -> bytes:
        """Return the answer to the end of the message."""
        if self._content is not None and data:
            self._keep(data)
        if self._oversized:
            return reply_packet(MESSAGE_TOO_BIG_552)
        if self._content is None or self._envelope is None:
            return CONTINUE
        self._envelope.content = bytes(self._content)
        self._drop_content()
        return await self._ask(self._milter.judge.message(self._envelope))

    async def _ask(self, question: Awaitable[Reply | None]) -> bytes:
        try:
            reply = await question
        except (asyncio.CancelledError, GeneratorExit, SystemExit, KeyboardInterrupt):
            raise
        except BaseException:
            log.exception("the milter's judge failed")
            reply = LOCAL_ERROR_451
        return CONTINUE if reply is None else reply_packet(reply)
