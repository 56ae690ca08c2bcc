"""A server with a script: the server's side of a transcript, over TCP or a Unix socket."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

from lmtpref.net.listeners import bind, spell
from lmtpref.net.socket_wire import SocketWire
from lmtpref.protocol.endpoints import UnixAddress, parse_address
from lmtpref.transcripts.script import Script

SCRIPT_SECONDS = 30.0  # how long a client may take to connect, and to play a script
# How long the server reads after its close, so that the client can read its replies.
_LINGER_SECONDS = 1.0
_TICK_SECONDS = 0.05


class ScriptServer:
    """A server for one client that sends the replies of `script`; `script` has the verdict.

    It listens on `address` from its creation until a client has sent something.  Raises UsageError for an address that
    cannot be bound.
    """

    def __init__(self, script: Script, listen: str = "127.0.0.1:0") -> None:
        self.script = script
        self.timed_out = False
        self._listening = bind(parse_address(listen))
        self._listening.settimeout(_TICK_SECONDS)
        self.address = spell(self._listening)
        self._stop = Event()

    def play(self, seconds: float = SCRIPT_SECONDS) -> None:
        """Wait for a client, and play until the script or the client ends, or `seconds` have passed.

        If a client leaves without having sent anything, the script begins again with the next client.
        """
        until = time.monotonic() + seconds
        while connected := self._meet(until):
            with connected:
                self._converse(SocketWire(connected, patience_seconds=_TICK_SECONDS), until)
            if self.script.verdict != "unstarted" or self._is_over(until):
                break
            self.script.restart()
        self._close()

    def stop(self) -> None:
        """Make `play`, in another thread, return as soon as no more octets are waiting."""
        self._stop.set()

    def _meet(self, until: float) -> socket.socket | None:
        """Return the socket of the next client; None if there is none before the end."""
        is_over = False
        while not is_over:
            is_over = self._is_over(until)
            with contextlib.suppress(TimeoutError):
                return self._listening.accept()[0]
        return None

    def _close(self) -> None:
        """Stop listening, and remove the file of a Unix socket, once."""
        is_open = self._listening.fileno() >= 0
        self._listening.close()
        if is_open and isinstance(place := parse_address(self.address), UnixAddress):
            Path(place.path).unlink()

    def _converse(self, wire: SocketWire, until: float) -> None:
        while True:
            wire.send(self.script.take())
            if self.script.closed:
                break
            if pause := self.script.pause:
                heard = wire.pause(min(pause, until - time.monotonic()))
                self.script.resume()
            else:
                heard = wire.receive()
            if heard:
                self._close()
            self.script.feed(heard)
            if wire.closed:
                self.script.eof()
            elif self._is_over(until) and (self.timed_out or not heard):
                break
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
    """Play `script` in a thread to the first client that sends something; yield the address, HOST:PORT or unix:PATH.

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
