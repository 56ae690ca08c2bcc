"""A conversation without a socket: a session and its handler, connected in memory."""

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
    """The client's end of a connection, as the player of a transcript uses it."""

    @property
    def instant(self) -> bool:
        """Whether all replies have come when `send` returns."""

    @property
    def closed(self) -> bool:
        """Whether the server has closed, and all its octets were received."""

    def send(self, octets: bytes) -> None:
        """Send `octets` in one write."""

    def receive(self) -> bytes:
        """Return the octets received since, after waiting for a bounded time; empty if none came."""

    def pause(self, seconds: float) -> bytes:
        """Wait, and return the octets received meanwhile."""

    def half_close(self) -> None:
        """Close the sending direction."""

    def close(self) -> None:
        """Close the connection."""


class MemoryWire:
    """A `Wire` whose other end is a `Session`: it replies at once, so no waiting is needed to detect silence.

    `wait` waits for an `async` hook; without it, a hook that really waits is an error.
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
        """Whether the server has closed, and all its octets were received."""
        return self._session.closed and not self._received

    def send(self, octets: bytes) -> None:
        """Pass `octets` to the session, and answer its questions by the handler."""
        self._session.feed(octets)
        self._run()

    def receive(self) -> bytes:
        """Return the octets that the session has sent since."""
        octets = bytes(self._received)
        self._received.clear()
        return octets

    def pause(self, seconds: float) -> bytes:  # noqa: ARG002 - there is no time in memory
        """Return the octets that the session has sent since."""
        return self.receive()

    def half_close(self) -> None:
        """Close the sending direction."""
        self._session.eof()
        self._run()

    def close(self) -> None:
        """Close the connection, and notify the handler once."""
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
    """Return the result of an `async` hook that never really waits.  Raises UsageError if it waits, which needs an event loop."""
    try:
        next(answer.__await__())
    except StopIteration as stop:
        result: Reply | None = stop.value
        return result
    raise UsageError("a hook that waits needs a server with an event loop")
