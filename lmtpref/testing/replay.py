"""A server with a script: the server's side of a transcript, over TCP or a Unix socket."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

from lmtpref.net.listeners import UnixAddress, bind, parse_address, spell
from lmtpref.net.socket_wire import SocketWire
from lmtpref.transcripts.script import Script

SCRIPT_SECONDS = 30.0  # how long a client may take to connect, and to play a script
# How long the server reads after its close, so that the client can read its replies.
_LINGER_SECONDS = 1.0
_TICK_SECONDS = 0.05


class ScriptServer:
    """A server for one client that sends the replies of `script`; `script` has the verdict.

    It listens on `address` from its creation until `play` has accepted a client.  Raises UsageError for an address that
    cannot be bound.
    """

    def __init__(self, script: Script, listen: str = "127.0.0.1:0") -> None:
        self.script = script
        self.timed_out = False
        self._listening = bind(parse_address(listen))
        self.address = spell(self._listening)
        self._stop = Event()

    def play(self, seconds: float = SCRIPT_SECONDS) -> None:
        """Wait for a client, and play until the script or the client ends, or `seconds` have passed."""
        until = time.monotonic() + seconds
        if connected := self._meet(until):
            with connected:
                self._converse(SocketWire(connected, patience_seconds=_TICK_SECONDS), until)

    def stop(self) -> None:
        """Make `play`, in another thread, return soon."""
        self._stop.set()

    def _meet(self, until: float) -> socket.socket | None:
        """Return the socket of the first client; no other client is accepted."""
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
        # Closing with unread octets would make TCP discard the last replies, so close only the sending direction.
        wire.half_close()
        until = min(until, time.monotonic() + _LINGER_SECONDS)
        while not wire.closed and not self._stop.is_set() and time.monotonic() < until:
            wire.receive()

    def _is_over(self, until: float) -> bool:
        self.timed_out = time.monotonic() >= until
        return self.timed_out or self._stop.is_set()


@contextlib.contextmanager
def serve_script(script: Script, listen: str = "127.0.0.1:0", *, seconds: float = SCRIPT_SECONDS) -> Iterator[str]:
    """Play `script` in a thread to the first client; yield the address, HOST:PORT or unix:PATH.

    The server stops at the end of the block at the latest.  It prints and raises nothing: call `script.explain()` afterwards.
    """
    server = ScriptServer(script, listen)
    thread = Thread(target=server.play, args=[seconds])
    thread.start()
    try:
        yield server.address
    finally:
        if script.verdict != "played":
            thread.join(_LINGER_SECONDS)
        server.stop()
        thread.join()
