"""The milter protocol, as far as a filter needs it that answers at RCPT: for Postfix and Sendmail.

Packets are a length of four octets, a letter, and data (libmilter's mfdef.h, which both MTAs keep to).  All that follows the
last RCPT is declined when the conversation begins, so no message ever comes here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path as FilePath
from typing import NamedTuple

from lmtpref.net.listeners import BACKLOG, UnixAddress, bind, parse_address, spell
from lmtpref.protocol.catalogue import LOCAL_ERROR_451
from lmtpref.protocol.errors import LmtpError, UsageError
from lmtpref.protocol.replies import Reply
from lmtpref.protocol.syntax import NO_PARAMETERS, Parameters, Path, parse_size

MAX_PACKET_OCTETS = 65_536  # mfdef.h's MILTER_CHUNK_SIZE, 65535, and the letter
MAX_CONNECTIONS = 1_000  # beyond: closed at once, and the MTA does what it does without a milter
IDLE_SECONDS = 3_600.0  # an MTA is silent while its client is: Sendmail bears an hour of that (RFC 5321 section 4.5.3.2 asks for 5 minutes)
VERSION = 6  # the newest there is; older MTAs say 2

_HEAD = struct.Struct("!I")
_OPTIONS = struct.Struct("!III")  # version, what the filter may change, what it may decline
# SMFIP_NOCONNECT, NOHELO, NOBODY, NOHDRS, NOEOH, NOUNKNOWN, NODATA: what need not be told
_DECLINED = 0x1 | 0x2 | 0x10 | 0x20 | 0x40 | 0x100 | 0x200
_CONTINUE = b"c"
_REPLY = b"y"
_UNANSWERED = b"ADK"  # abort, macros, quit with a new client to come: none of these has an answer
_KNOWN = b"BCEHLMNORTU"

log = logging.getLogger(__name__)


class MailFrom(NamedTuple):
    """What an MTA's client said in MAIL: the sender, None for `<>`, and the parameters."""

    sender: Path | None
    parameters: Parameters


AnswerRcpt = Callable[[MailFrom, Path], Awaitable[Reply | None]]


class PacketError(LmtpError):
    """What came is not the milter protocol, or more of it than anyone needs."""


class Milter:
    """A filter for MTAs: at each RCPT, `judge` says what the client is told, or None where that is for the MTA to say.

    `judge` may be replaced at any time.  When it raises, the client is told 451 4.3.0; an address that cannot be read is
    left to the MTA.
    """

    def __init__(self, judge: AnswerRcpt) -> None:
        self.judge = judge
        self.addresses: list[str] = []
        self._servers: list[asyncio.Server] = []
        self._connections: set[asyncio.Task[None]] = set()

    async def listen(self, address: str, group: str | int | None = None) -> None:
        """Listen on HOST:PORT of loopback, or unix:PATH, for that group.  Raises UsageError for an address that cannot be had."""
        listening = bind(parse_address(address), group=group)
        self.addresses.append(spell(listening))
        self._servers.append(await asyncio.start_server(self._accepted, sock=listening, backlog=BACKLOG))

    async def aclose(self) -> None:
        """Stop, and hang up on every MTA."""
        for server in self._servers:
            server.close()
        for task in self._connections:
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections)
        self._remove_sockets()

    def _remove_sockets(self) -> None:
        for place in map(parse_address, self.addresses):
            if isinstance(place, UnixAddress):
                FilePath(place.path).unlink(missing_ok=True)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._connections.add(task)
        try:
            if len(self._connections) <= MAX_CONNECTIONS:
                await self._converse(reader, writer)
        except PacketError as error:
            log.error("milter: %s", error)  # noqa: TRY400 - it says what there is to say
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError, asyncio.CancelledError):
            pass
        finally:
            self._connections.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mail: MailFrom | None = None
        while (packet := await _read(reader))[:1] != b"Q":
            letter, data = packet[:1], packet[1:]
            if letter in b"AKM":  # abort, another client: the sender is no longer who it was
                mail = parse_mail_packet(data) if letter == b"M" else None
            if letter in _UNANSWERED:
                continue
            answer = _agreed(data) if letter == b"O" else await self._answer(mail, data) if letter == b"R" else _CONTINUE
            writer.write(_HEAD.pack(len(answer)) + answer)
            await writer.drain()
            await asyncio.sleep(0)  # a client that pipelines has no more than a packet in each turn of the loop

    async def _answer(self, mail: MailFrom | None, data: bytes) -> bytes:
        """Return the answer to RCPT."""
        recipient = _path(_words(data)[0])
        if mail is None or recipient is None:
            return _CONTINUE
        try:
            reply = await self.judge(mail, recipient)
        except (asyncio.CancelledError, GeneratorExit, SystemExit, KeyboardInterrupt):
            raise
        except BaseException:
            log.exception("the milter's judge failed")
            reply = LOCAL_ERROR_451
        return _CONTINUE if reply is None else reply_packet(reply)


def reply_packet(reply: Reply) -> bytes:
    """Return the packet that has the client told `reply`, as it is."""
    return _REPLY + reply.octets.removesuffix(b"\r\n").replace(b"%", b"%%") + b"\0"  # mfdef.h: it is a format to the MTA


def parse_mail_packet(data: bytes) -> MailFrom | None:
    """Return what MAIL's packet says; None for a sender that is no address with a domain, of whom no list can know anything."""
    given, *words = _words(data)
    sender = _path(given)
    if sender is None and given not in ("<>", ""):
        return None
    pairs = dict(word.upper().partition("=")[::2] for word in words)
    size = pairs.get("SIZE")
    return MailFrom(sender, NO_PARAMETERS if parse_size(size) is None else {"SIZE": size})


async def _read(reader: asyncio.StreamReader) -> bytes:
    """Return the next packet: its letter and its data."""
    async with asyncio.timeout(IDLE_SECONDS):
        [octets] = _HEAD.unpack(await reader.readexactly(_HEAD.size))
        if not 0 < octets <= MAX_PACKET_OCTETS:
            raise PacketError(f"a packet of {octets} octets")
        packet = await reader.readexactly(octets)
    if packet[0] not in _KNOWN + _UNANSWERED + b"Q":
        raise PacketError(f"a packet of an unknown kind: {packet[:1]!r}")
    return packet


def _agreed(data: bytes) -> bytes:
    """Return the answer to the MTA's offer: that nothing will be changed, and what need not be sent."""
    if len(data) < _OPTIONS.size:
        raise PacketError("an offer that is too short")
    version, _, protocol = _OPTIONS.unpack_from(data)
    return b"O" + _OPTIONS.pack(min(version, VERSION), 0, protocol & _DECLINED)


def _words(data: bytes) -> list[str]:
    """Return the words of a command, which end in a NUL each; the first is an address."""
    return data.decode("utf-8", "replace").removesuffix("\0").split("\0")


def _path(given: str) -> Path | None:
    """Return the address that stands in angle brackets, or should; None if there is none with a domain."""
    try:
        path = Path.parse(given.removeprefix("<").removesuffix(">"))
    except UsageError:
        return None
    return path if path.domain else None
