"""A socket whose calls have a time limit each, for `Client`."""

from __future__ import annotations

import select
import selectors
import socket
import ssl
import time
from collections.abc import Callable, Sequence

from lmtpref.net.client.smtplib_adapter import READ_OCTETS

AT_ONCE = 0.0  # a time in the past: what is not there already does not count

Wait = Callable[[float | None], Sequence[object]]  # for at most so many milliseconds; an empty list after that


class TimedSocket:
    """A connected socket, with or without TLS, that is read and written until given times.

    The socket itself never blocks.  So a change of the time limit takes no system call, unlike `socket.settimeout`.
    """

    def __init__(self, connected: socket.socket) -> None:
        connected.settimeout(0)
        self.socket = connected
        self._await_readable = _wait_for(connected, selectors.EVENT_READ)
        self._await_writable = _wait_for(connected, selectors.EVENT_WRITE)

    def receive(self, until: float | None) -> bytes | None:
        """Return the octets that come before the time `until`, empty at the end of the stream; None if no octet comes."""
        while self._has_decrypted_octets or self._await_readable(_milliseconds(until)):
            try:
                return self.socket.recv(READ_OCTETS)
            except (BlockingIOError, ssl.SSLWantReadError):
                # The octets that came are not a whole TLS record.
                continue
            except OSError:
                return b""
        return None

    def send(self, octets: memoryview, seconds: float | None) -> None:
        """Send all `octets`.  Raises TimeoutError if that takes more than `seconds`, OSError if the peer is gone."""
        until: float | None = None
        while octets:
            try:
                octets = octets[self.socket.send(octets) :]
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError) as problem:
                until = until or deadline(seconds)
                # While the peer renegotiates TLS, nothing can be sent before it has been read.
                wait = self._await_readable if isinstance(problem, ssl.SSLWantReadError) else self._await_writable
                if not wait(_milliseconds(until)):
                    raise TimeoutError from None

    @property
    def _has_decrypted_octets(self) -> bool:
        return isinstance(self.socket, ssl.SSLSocket) and self.socket.pending() > 0


def deadline(seconds: float | None) -> float | None:
    """Return the time, as `time.monotonic` counts it, that is `seconds` away; None for no limit."""
    return None if seconds is None else time.monotonic() + seconds


def _milliseconds(until: float | None) -> float | None:
    return None if until is None else max(until - time.monotonic(), 0) * 1000


def _wait_for(connected: socket.socket, event: int) -> Wait:
    """Return the function that waits for `event`: that of poll(2), or of select() where there is no poll(2), as on Windows."""
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(connected, select.POLLIN if event == selectors.EVENT_READ else select.POLLOUT)
        return poll.poll
    selector = selectors.SelectSelector()
    selector.register(connected, event)
    return lambda milliseconds: [*selector.select(None if milliseconds is None else milliseconds / 1000)]
