"""The client's end of a stream socket at a transcript's pace: one write, then the replies to it."""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from typing import Self

from lmtpref.protocol.endpoints import TcpAddress, parse_address

PATIENCE_SECONDS = 2.0  # how long a reply may take before it counts as missing
_READ_OCTETS = 65536


class SocketWire:
    """A `Wire` over a connected stream socket, which it closes."""

    instant = False

    def __init__(self, connected: socket.socket, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        connected.settimeout(0)  # the selector waits
        self._socket = connected
        self._patience = patience_seconds
        self._early = bytearray()  # received during `send`
        self._ended = False

    @classmethod
    def dial(cls, address: str, *, patience_seconds: float = PATIENCE_SECONDS) -> Self:
        """Return a wire to `HOST:PORT` or `unix:PATH`.  Raises UsageError for another form, OSError if no server answers."""
        place = parse_address(address)
        if isinstance(place, TcpAddress):
            return cls(socket.create_connection(place, patience_seconds), patience_seconds=patience_seconds)
        connected = socket.socket(socket.AF_UNIX)
        connected.settimeout(patience_seconds)
        try:
            connected.connect(place.path)
        except OSError:
            connected.close()
            raise
        return cls(connected, patience_seconds=patience_seconds)

    @property
    def closed(self) -> bool:
        """Whether the server has closed, and all its octets were received."""
        return self._ended and not self._early

    def send(self, octets: bytes) -> None:
        """Send `octets` in one write, or in as many as the server can take; read its replies meanwhile.

        A server that has closed takes nothing; the missing replies show that.
        """
        rest = memoryview(octets)
        while rest and not self._ended:
            ready = self._wait(selectors.EVENT_READ | selectors.EVENT_WRITE, self._patience)
            if ready & selectors.EVENT_WRITE:
                try:
                    rest = rest[self._socket.send(rest) :]
                except ConnectionError:
                    return
            elif ready:
                self._early += self._read(0)
            else:
                return

    def receive(self) -> bytes:
        """Return the octets received since; empty after PATIENCE_SECONDS without an octet, or if the server has closed."""
        early = bytes(self._early)
        self._early.clear()
        return early or self._read(self._patience)

    def pause(self, seconds: float) -> bytes:
        """Wait, and return the octets received meanwhile."""
        came = bytearray()
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not self._ended:
            came += self._early + self._read(left)
            self._early.clear()
        return bytes(came)

    def half_close(self) -> None:
        """Close the sending direction."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _read(self, seconds: float) -> bytes:
        """Return the octets that come within `seconds`; note the end of the stream."""
        if self._ended or not self._wait(selectors.EVENT_READ, seconds):
            return b""
        try:
            octets = self._socket.recv(_READ_OCTETS)
        except ConnectionError:
            octets = b""
        self._ended = not octets
        return octets

    def _wait(self, events: int, seconds: float) -> int:
        """Return those of `events` for which the socket is ready; 0 if none is within `seconds`."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, events)
            return sum(ready for _, ready in selector.select(seconds))
