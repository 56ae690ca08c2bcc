"""Transcripts over sockets: a `Wire` on TCP or a Unix socket, and a server that has a script."""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Self

from lmtpref.net.listeners import TcpAddress, UnixAddress, bind, parse_address, spell
from lmtpref.transcripts.script import Script

PATIENCE_SECONDS = 2.0  # how long a reply may take before it counts as missing
SCRIPT_SECONDS = 30.0  # how long a client may take to come, and to play a script
_LINGER_SECONDS = 1.0  # for what a client has just said, and for what it has not read yet
_TICK_SECONDS = 0.05
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
        """A wire to `HOST:PORT` or `unix:PATH`.  Raises UsageError for another form, OSError if no server answers."""
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
        """What has come since; empty if nothing came for as long as our patience lasts, or the server has closed."""
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
        """Hang up."""
        self._socket.close()

    def _read(self, seconds: float) -> bytes:
        """What comes within `seconds`; notes the end of the stream."""
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


class ScriptServer:
    """A server for one client, that says what `script` says; the verdict is the script's.

    It listens, on `address`, from when it is made until `play` has met a client.  Raises UsageError for an address that
    cannot be had.
    """

    def __init__(self, script: Script, listen: str = "127.0.0.1:0") -> None:
        self.script = script
        self.timed_out = False
        self._listening = bind(parse_address(listen))
        self.address = spell(self._listening)
        self._stop = Event()

    def play(self, seconds: float = SCRIPT_SECONDS) -> None:
        """Wait for a client, and play until the script or the client is at its end, or `seconds` have passed."""
        until = time.monotonic() + seconds
        if connected := self._meet(until):
            with connected:
                self._converse(SocketWire(connected, patience_seconds=_TICK_SECONDS), until)

    def stop(self) -> None:
        """Have `play` return soon, in another thread."""
        self._stop.set()

    def _meet(self, until: float) -> socket.socket | None:
        """The first client that comes; nobody else is let in."""
        connected = None
        with self._listening as listening:
            listening.settimeout(_TICK_SECONDS)
            while not connected and not self._is_over(until):
                with contextlib.suppress(TimeoutError):
                    connected, _ = listening.accept()
        if isinstance(place := parse_address(self.address), UnixAddress):
            Path(place.path).unlink()
        return connected

    def _converse(self, wire: SocketWire, until: float) -> None:
        while True:
            wire.send(self.script.take())
            if self.script.closed or self._is_over(until):
                break
            if pause := self.script.pause:
                heard = wire.pause(min(pause, until - time.monotonic()))
                self.script.resume()
            else:
                heard = wire.receive()
            self.script.feed(heard)
            if wire.closed:
                self.script.eof()
        wire.half_close()  # who closes on unread octets takes his last words away with him
        until = min(until, time.monotonic() + _LINGER_SECONDS)
        while not wire.closed and not self._stop.is_set() and time.monotonic() < until:
            wire.receive()

    def _is_over(self, until: float) -> bool:
        self.timed_out = time.monotonic() >= until
        return self.timed_out or self._stop.is_set()


@contextlib.contextmanager
def serve_script(script: Script, listen: str = "127.0.0.1:0", *, seconds: float = SCRIPT_SECONDS) -> Iterator[str]:
    """Play `script` in a thread, to whoever comes first; the address, HOST:PORT or unix:PATH.

    Ends with the block at the latest, and prints and raises nothing: ask `script.explain()` then.
    """
    server = ScriptServer(script, listen)
    thread = Thread(target=server.play, args=[seconds], daemon=True)
    thread.start()
    try:
        yield server.address
    finally:
        if script.verdict != "played":
            thread.join(_LINGER_SECONDS)
        server.stop()
        thread.join()
