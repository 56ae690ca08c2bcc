"""The client's end of a stream socket, read and written at a transcript's pace: one write, then what comes back."""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from typing import Self

from lmtpref.net.listeners import TcpAddress, parse_address

PATIENCE_SECONDS = 2.0  # how long a reply may take before it counts as missing
_READ_OCTETS = 65536


class SocketWire:
    """A `Wire` over a connected stream socket, which it closes."""

    instant = False

    def __init__(self, connected: socket.socket, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        connected.settimeout(0)  # the selector does the waiting
        self._socket = connected
        self._patience = patience_seconds
        self._early = bytearray()  # what came while we were still sending
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
        """Whether the server has closed, and all that it sent was received."""
        return self._ended and not self._early

    def send(self, octets: bytes) -> None:
        """Send `octets` in one write, or in as many as the server can take; its replies are read meanwhile.

        A server that has closed takes nothing: the replies that do not come will tell.
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
        """Return what has come since; empty if nothing came for as long as our patience lasts, or the server has closed."""
        early = bytes(self._early)
        self._early.clear()
        return early or self._read(self._patience)

    def pause(self, seconds: float) -> bytes:
        """Let the time pass; what has come meanwhile."""
        came = bytearray()
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not self._ended:
            came += self._early + self._read(left)
            self._early.clear()
        return bytes(came)

    def half_close(self) -> None:
        """Say that no more will be sent."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _read(self, seconds: float) -> bytes:
        """Return what comes within `seconds`; notes the end of the stream."""
        if self._ended or not self._wait(selectors.EVENT_READ, seconds):
            return b""
        try:
            octets = self._socket.recv(_READ_OCTETS)
        except ConnectionError:
            octets = b""
        self._ended = not octets
        return octets

    def _wait(self, events: int, seconds: float) -> int:
        """Which of `events` the socket is ready for; 0 if for none of them within `seconds`."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, events)
            return sum(ready for _, ready in selector.select(seconds))
