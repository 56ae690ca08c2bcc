"""The packets of the milter protocol that a filter for recipients and whole messages needs.

A packet is a length of four octets, a letter, and data (libmilter's mfdef.h, which Postfix and Sendmail follow).
"""

from __future__ import annotations

import asyncio
import struct

from lmtpref.protocol.errors import LmtpError, UsageError
from lmtpref.protocol.handler import Envelope, Peer
from lmtpref.protocol.replies import Reply
from lmtpref.protocol.syntax import NO_PARAMETERS, Path, parse_size

MAX_PACKET_OCTETS = 65_536  # mfdef.h's MILTER_CHUNK_SIZE, 65535, and the letter
# An MTA is silent while its client is: Sendmail waits an hour (RFC 5321 section 4.5.3.2 asks for 5 minutes).
IDLE_SECONDS = 3_600.0
VERSION = 6  # the newest; older MTAs send 2

CONTINUE = b"c"
ACCEPT = b"a"  # this message needs no more packets
UNANSWERED = b"ADK"  # abort, macros, quit with a new client to come: packets without an answer
CONTENT = b"LNB"  # a header field, the end of the header, a part of the body

_REPLY = b"y"
_KNOWN = b"BCEHLMNORTUQ" + UNANSWERED
_HEAD = struct.Struct("!I")
_OPTIONS = struct.Struct("!III")  # version, permitted changes, packets to omit
# SMFIP_NOCONNECT, NOHELO, NOUNKNOWN: packets that are not needed
_DECLINED = 0x1 | 0x2 | 0x100
# SMFIP_NR_HDR, NR_EOH, NR_BODY: packets that need no answer
CONTENT_UNANSWERED = 0x80 | 0x40000 | 0x80000
# SMFIP_HDR_LEADSPC: the white space after a field's colon is sent too
LEADING_SPACE = 0x100000


class PacketError(LmtpError):
    """Raised for a packet that is not in the protocol, or too large."""


async def read_packet(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Return the letter and the data of the next packet."""
    async with asyncio.timeout(IDLE_SECONDS):
        [octets] = _HEAD.unpack(await reader.readexactly(_HEAD.size))
        if not 0 < octets <= MAX_PACKET_OCTETS:
            raise PacketError(f"a packet of {octets} octets")
        packet = await reader.readexactly(octets)
    if packet[0] not in _KNOWN:
        raise PacketError(f"a packet of an unknown kind: {packet[:1]!r}")
    return packet[:1], packet[1:]


def framed(packet: bytes) -> bytes:
    """Return a packet with its length in front."""
    return _HEAD.pack(len(packet)) + packet


def agree(data: bytes) -> tuple[bytes, int]:
    """Return the answer to the MTA's offer, and the common options; the filter changes no message."""
    if len(data) < _OPTIONS.size:
        raise PacketError("an offer that is too short")
    version, _, protocol = _OPTIONS.unpack_from(data)
    options = protocol & (_DECLINED | CONTENT_UNANSWERED | LEADING_SPACE)
    return b"O" + _OPTIONS.pack(min(version, VERSION), 0, options), options


def reply_packet(reply: Reply) -> bytes:
    """Return the packet that makes the MTA send `reply` to its client unchanged."""
    # The MTA interprets the text as a format (mfdef.h).
    return _REPLY + reply.octets.removesuffix(b"\r\n").replace(b"%", b"%%") + b"\0"


def parse_mail_packet(data: bytes) -> Envelope | None:
    """Return the envelope that MAIL begins; None if the sender is not an address with a domain, which no list can know."""
    given, *words = _words(data)
    sender = _path(given)
    if sender is None and given not in ("<>", ""):
        return None
    pairs = dict(word.upper().partition("=")[::2] for word in words)
    size = pairs.get("SIZE")
    return Envelope(Peer(), sender, NO_PARAMETERS if parse_size(size) is None else {"SIZE": size})


def parse_rcpt_packet(data: bytes) -> Path | None:
    """Return the recipient that RCPT names; None if it is not an address with a domain."""
    return _path(_words(data)[0])


def field_of(data: bytes, options: int) -> bytes:
    """Return a header field as the message has it."""
    name, _, value = data.removesuffix(b"\0").partition(b"\0")
    space = b"" if options & LEADING_SPACE else b" "
    return name + b":" + space + value.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") + b"\r\n"


def _words(data: bytes) -> list[str]:
    """Return the arguments of a command, each terminated by NUL; the first is an address."""
    return data.decode("utf-8", "replace").removesuffix("\0").split("\0")


def _path(given: str) -> Path | None:
    """Return the address, which may stand in angle brackets; None if it is not one with a domain."""
    try:
        path = Path.parse(given.removeprefix("<").removesuffix(">"))
    except UsageError:
        return None
    return path if path.domain else None
