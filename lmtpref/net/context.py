"""What the connections of one server have in common."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lmtpref.net.limits import Limits
from lmtpref.protocol.handler import Handler, Peer
from lmtpref.protocol.session import Session
from lmtpref.protocol.settings import Settings

if TYPE_CHECKING:
    from lmtpref.net.connection import Connection

MAX_READ_OCTETS = 262_144  # at once, by all connections into one buffer: to make room for each read costs more than a command

# Called with settings, peer, connection, and by keyword with `tell`: what is told of each transaction's record, or None.
SessionFactory = Callable[..., Session]


class _ReadBuffer(threading.local):
    """Where connections read to: each takes out what it has read before another reads, for a loop has a thread to itself."""

    def __init__(self) -> None:
        self.view = memoryview(bytearray(MAX_READ_OCTETS))


READ_BUFFER = _ReadBuffer()


@dataclass(slots=True, eq=False)
class Shared:
    """What the connections of one server have in common."""

    handler: Handler
    settings: Settings
    limits: Limits
    is_known: Callable[[str | None], bool]
    tls: ssl.SSLContext | None = None
    session: Callable[[Settings, Peer, Connection], Session] = field(default=lambda settings, peer, _: Session(settings, peer))
    connections: set[Connection] = field(default_factory=set)
    farewells: set[asyncio.Task[None]] = field(default_factory=set)  # hooks still running for connections that are gone
    buffered_octets: int = 0
    stopping: bool = False
