"""A conversation without a socket: a session and its handler joined in memory."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from lmtpref.protocol.errors import UsageError
from lmtpref.protocol.handler import Handler, Peer
from lmtpref.protocol.observer import Observer
from lmtpref.protocol.replies import Reply
from lmtpref.protocol.session import Session
from lmtpref.protocol.settings import Settings

log = logging.getLogger(__name__)


class Wire(Protocol):
    """A client's end of a connection, as a transcript needs it."""

    @property
    def instant(self) -> bool:
        """Whether all that will come has come when `send` returns."""

    @property
    def closed(self) -> bool:
        """Whether the server has closed, and all that it sent was received."""

    def send(self, octets: bytes) -> None:
        """Send `octets` in one write."""

    def receive(self) -> bytes:
        """Return what has come since, waiting for it a bounded time; empty if nothing came."""

    def pause(self, seconds: float) -> bytes:
        """Let the time pass; what has come meanwhile."""

    def half_close(self) -> None:
        """Say that no more will be sent."""

    def close(self) -> None:
        """Close the connection."""


class MemoryWire:
    """A `Wire` whose other end is a `Session`: what is sent is answered at once, so silence needs no waiting.

    `wait` is how an `async` hook is waited for; without it, one that really waits is a fault.
    """

    instant = True

    def __init__(
        self,
        handler: Handler,
        settings: Settings | None = None,
        peer: Peer | None = None,
        *,
        wait: Callable[[Awaitable[Reply | None]], Reply | None] | None = None,
        observers: tuple[Observer, ...] = (),
    ) -> None:
        self._wait = wait or _completed
        self._session = Session(settings or Settings(), peer or Peer(), handler, observers)
        self._received = bytearray()
        self._hung_up = False
        self._run()

    @property
    def closed(self) -> bool:
        """Whether the server has closed, and all that it sent was received."""
        return self._session.closed and not self._received

    def send(self, octets: bytes) -> None:
        """Let the session have `octets`, and its handler answer."""
        self._session.feed(octets)
        self._run()

    def receive(self) -> bytes:
        """Return what the session has sent since."""
        octets = bytes(self._received)
        self._received.clear()
        return octets

    def pause(self, seconds: float) -> bytes:  # noqa: ARG002 - there is no time in memory
        """Return what the session has sent since."""
        return self.receive()

    def half_close(self) -> None:
        """Say that no more will be sent."""
        self._session.eof()
        self._run()

    def close(self) -> None:
        """Hang up: the handler hears of it, once."""
        if not self._hung_up:
            self._hung_up = True
            self._session.lost()
            self._run()

    def _run(self) -> None:
        session = self._session
        while event := session.turn():
            try:
                answer = event.outcome(session.handler)
                session.answer(answer if answer is None or isinstance(answer, Reply) else self._wait(answer))
            except Exception:
                log.exception("the %s hook failed", event.hook)
                session.fail()
        self._received += session.take()


def _completed(answer: Awaitable[Reply | None]) -> Reply | None:
    """Return what an `async` hook returns that never really waits.  Raises UsageError if it waits: that needs a loop."""
    try:
        next(answer.__await__())
    except StopIteration as stop:
        result: Reply | None = stop.value
        return result
    raise UsageError("a hook that waits needs a server with an event loop")
