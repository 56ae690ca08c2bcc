"""Connections without a socket: a page feeds one the octets of a read, and sees each write of the server."""

import asyncio

from lmtpref import Handler, Limits, Peer, Settings
from lmtpref.net.connection import MAX_FINAL_TURNS, MAX_STEPS_A_TURN, Connection
from lmtpref.net.context import ServerContext
from lmtpref.net.known_mtas import KnownMtas

__all__ = ["MAX_FINAL_TURNS", "MAX_STEPS_A_TURN", "RecordedConnection", "server_context"]


class RecordingTransport(asyncio.Transport):
    """A transport that records each write, and each change between reading and not reading."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[str] = []
        self.reading: list[str] = []
        self.replies = 0  # written since the beginning

    def write(self, octets: bytes | bytearray | memoryview) -> None:
        """Record a write."""
        self.made.append(bytes(octets).decode("ascii"))
        self.replies += sum(line[3:4] == b" " for line in bytes(octets).splitlines())

    def is_closing(self) -> bool:
        """Return False: the peer never closes."""
        return False

    def close(self) -> None:
        """Record that the server closes the connection."""
        self.made.append("<close>")

    def can_write_eof(self) -> bool:
        """Return False: there is no peer to tell."""
        return False

    def pause_reading(self) -> None:
        """Record that the server stops reading."""
        self.made.append("<reading stops>")
        self.reading.append("stops")

    def resume_reading(self) -> None:
        """Record that the server reads again."""
        self.made.append("<reading goes on>")
        self.reading.append("goes on")


def server_context(handler: Handler, limits: Limits | None = None) -> ServerContext:
    """Return what the connections of one server share."""
    return ServerContext(handler, Settings(hostname="lists.example"), limits or Limits(), KnownMtas(None))


class RecordedConnection:
    """A connection on the running loop, with the transport that records it."""

    def __init__(self, server: ServerContext, peer: Peer | None = None) -> None:
        self.transport = RecordingTransport()
        self.connection = Connection(server, peer)
        self.connection.connection_made(self.transport)

    def feed(self, octets: bytes) -> None:
        """Pass on octets that one read brought."""
        self.connection.get_buffer(-1)[: len(octets)] = octets
        self.connection.buffer_updated(len(octets))

    def writes_for(self, text: str) -> list[str]:
        """Return the writes made while `text` is fed in one piece."""
        self.take_writes()
        self.feed(text.encode("ascii"))
        return self.take_writes()

    def take_writes(self) -> list[str]:
        """Return the writes made since the last call."""
        made = self.transport.made[:]
        self.transport.made.clear()
        return made
