"""The engine: every listener of a server on one event loop, in the caller's loop or in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import socket
import ssl
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Literal, TypeVar

from lmtpref.net.accept_errors import AcceptErrors
from lmtpref.net.connection import Connection
from lmtpref.net.context import Interpose, ObserverFactory, ServerContext
from lmtpref.net.known_mtas import KnownMtas
from lmtpref.net.listeners import ACCEPTED_A_TURN, BACKLOG, Listener, SocketFile, bind, spell
from lmtpref.net.proxy_gate import protocol_for
from lmtpref.protocol.endpoints import parse_address
from lmtpref.protocol.errors import UsageError
from lmtpref.protocol.handler import Handler
from lmtpref.protocol.server_limits import Limits
from lmtpref.protocol.settings import Settings

T = TypeVar("T")

Uvloop = Literal["auto", "yes", "no"]

GRACE_SECONDS = 2.0  # how long a stop waits for open transactions
ABORT_SECONDS = 0.2  # how long, after that, clients may take to read their last reply
# Python 3.13's loops remove the file of a Unix socket when its server closes, but other workers may still listen there.
UNIX_OPTIONS: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
ACCEPT_TURNS = 5  # turns of the loop until an accepted socket has become a connection


class Engine:
    """An LMTP server: call `bind`, then `serve` on an event loop, and `aclose` at the end.

    `known_mtas` are networks and host names; None means loopback.  With `allow_remote` and `known_mtas` it may listen
    other than loopback and Unix sockets.  With `tls` it offers STARTTLS.  `observers` create an observer for
    each connection; `interpose` wraps `handler` on each.
    """

    def __init__(
        self,
        handler: Handler,
        settings: Settings | None = None,
        *,
        limits: Limits | None = None,
        known_mtas: Iterable[str] | None = None,
        allow_remote: bool = False,
        unix_group: str | int | None = None,
        tls: ssl.SSLContext | None = None,
        observers: Sequence[ObserverFactory] = (),
        interpose: Interpose | None = None,
    ) -> None:
        known = None if known_mtas is None else list(known_mtas)
        settings = settings or Settings()
        if settings.starttls and tls is None:
            raise UsageError("starttls=True needs a certificate, in tls")
        settings = dataclasses.replace(settings, starttls=tls is not None)
        _check_tls(settings.require_tls, tls)
        limits = limits or Limits()
        limits.check(settings)
        self._context = ServerContext(handler, settings, limits, known_mtas_of(known, tls), tls)
        self._context.observers, self._context.interpose = tuple(observers), interpose
        self._allow_remote = allow_remote and bool(known)
        self._unix_group = unix_group
        self._sockets: list[socket.socket] = []
        self._listeners: list[Listener] = []
        self._addresses: list[str] = []
        self._files: list[SocketFile] = []
        self._servers: list[asyncio.Server] = []
        self._accept_errors = AcceptErrors()

    @property
    def handler(self) -> Handler:
        """The handler for new connections.  It may be replaced while the server runs."""
        return self._context.handler

    @handler.setter
    def handler(self, handler: Handler) -> None:
        self._context.handler = handler

    @property
    def settings(self) -> Settings:
        """The settings of new connections.  They may be replaced while the server runs."""
        return self._context.settings

    @settings.setter
    def settings(self, settings: Settings) -> None:
        self._context.settings = settings

    def reconfigure(
        self,
        handler: Handler,
        settings: Settings,
        limits: Limits,
        known_mtas: KnownMtas | Iterable[str] | None,
        tls: ssl.SSLContext | None,
    ) -> None:
        """Replace the configuration.  New connections use it at once; open ones use `handler` from their next MAIL on."""
        known = known_mtas if isinstance(known_mtas, KnownMtas) else known_mtas_of(known_mtas, tls)
        limits.check(settings)
        self._context.handler = handler
        self._context.settings = dataclasses.replace(settings, starttls=tls is not None)
        self._context.tls = tls or self._context.tls  # STARTTLS may have been offered on an open connection
        self._context.limits = limits
        self._context.known_mtas = known
        for connection in self._context.connections:
            connection.switch_handler(handler)

    @property
    def addresses(self) -> list[str]:
        """The addresses that it listens on, HOST:PORT or unix:PATH, with the real port numbers."""
        return list(self._addresses)

    @property
    def is_stopping(self) -> bool:
        """Whether the server is stopping or has stopped."""
        return self._context.stopping

    @property
    def listeners(self) -> list[Listener]:
        """The listeners with their bound sockets, for engines in other processes."""
        return [listener._replace(bound=listening) for listener, listening in zip(self._listeners, self._sockets, strict=True)]

    def bind(self, listen: Iterable[str | Listener]) -> None:
        """Bind all addresses or no address.

        Raises UsageError for an address that cannot be bound, for port 25, for a remote address without permission, and for a listener
        whose settings cannot be used.
        """
        try:
            for given in listen:
                listener = given if isinstance(given, Listener) else Listener(given)
                listener.check()
                _check_tls(listener.require_tls, self._context.tls)
                listening = listener.bound or bind(parse_address(listener.address), allow_remote=self._allow_remote, group=self._unix_group)
                self._sockets.append(listening)
                self._listeners.append(listener)
                self._addresses.append(spell(listening))
                if not listener.bound and self._addresses[-1].startswith("unix:"):
                    self._files.append(SocketFile.of(self._addresses[-1].removeprefix("unix:")))
        except BaseException:
            self.release()
            raise
        if not self._sockets:
            raise UsageError("a server needs an address to listen on")

    async def serve(self) -> None:
        """Start accepting connections on the running loop."""
        self._context.stopping = False
        loop = asyncio.get_running_loop()
        self._accept_errors.attach(loop)
        try:
            for listening, listener in zip(self._sockets, self._listeners, strict=True):
                is_unix = listening.family == getattr(socket, "AF_UNIX", None)
                create, options = (loop.create_unix_server, UNIX_OPTIONS) if is_unix else (loop.create_server, {})
                protocol = partial(protocol_for, self._context, listener)
                self._servers.append(await create(protocol, sock=listening, backlog=ACCEPTED_A_TURN, **options))
                listening.listen(BACKLOG)  # asyncio would use its `backlog` for both purposes
        except BaseException:
            await self.aclose(0)
            raise

    async def adopt(self, connected: socket.socket) -> None:
        """Serve the client at the other end of a connected socket; the engine closes it."""
        await asyncio.get_running_loop().connect_accepted_socket(lambda: Connection(self._context), connected)

    async def aclose(self, grace_seconds: float = GRACE_SECONDS) -> None:
        """Stop: open transactions may finish within `grace_seconds`, all other connections get 421 4.3.2 at once."""
        self._context.stopping = True
        self._unlink()
        try:
            await self._stop_accepting()
            self._wind_down(now=False)
            await self._poll_until(lambda: not any(c.in_transaction for c in self._context.connections), grace_seconds)
            self._wind_down(now=True)
            await self._poll_until(lambda: not self._context.connections, ABORT_SECONDS)
            for connection in list(self._context.connections):
                connection.abort()
            self._context.close_gates()
            await self._poll_until(lambda: not self._context.connections and not self._context.cleanup_tasks, ABORT_SECONDS)
        finally:
            self._servers.clear()
            self.release()
            self._accept_errors.detach(asyncio.get_running_loop())

    async def wait_until(self, done: Callable[[], bool], seconds: float) -> None:
        """Process input that has arrived, new connections included; then wait until `done`, at most `seconds`."""
        await self._turns()
        await self._poll_until(done, seconds)

    async def drop_connections(self) -> None:
        """Drop every connection, and notify the handlers."""
        for connection in list(self._context.connections):
            connection.abort()
        await self.wait_until(lambda: not self._context.connections and not self._context.cleanup_tasks, ABORT_SECONDS)

    def release(self) -> None:
        """Close the listening sockets, and remove the socket files."""
        self._unlink()
        for listening in self._sockets:
            listening.close()
        self._sockets.clear()
        self._listeners.clear()
        self._addresses.clear()

    def _unlink(self) -> None:
        """Remove the socket files while they are ours: another server may bind a path on which no server answers."""
        while self._files:
            self._files.pop().remove()

    async def _stop_accepting(self) -> None:
        """Close the listeners, but only after asyncio has made connections of all accepted sockets; it would leak the others."""
        for listening in self._sockets:
            # On Windows, no accepted socket is lost.
            with contextlib.suppress(NotImplementedError):
                asyncio.get_running_loop().remove_reader(listening)
        await self._turns()
        for server in self._servers:
            server.close()

    async def _turns(self) -> None:
        for _ in range(ACCEPT_TURNS):
            await asyncio.sleep(0)

    def _wind_down(self, *, now: bool) -> None:
        for connection in list(self._context.connections):
            connection.wind_down(now=now)

    async def _poll_until(self, done: Callable[[], bool], seconds: float) -> None:
        """Wait until `done`, at most `seconds`."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while not done() and loop.time() < end:
            await asyncio.sleep(0.005)


def known_mtas_of(known_mtas: Iterable[str] | None, tls: ssl.SSLContext | None) -> KnownMtas:
    """Return the known MTAs.

    Raises UsageError: for an invalid entry, and for `tls:NAME` if `tls` verifies no client certificates.
    """
    known = KnownMtas(known_mtas)
    if known.certificate_names and (tls is None or tls.verify_mode is ssl.CERT_NONE):
        raise UsageError(f"known_mtas: 'tls:{min(known.certificate_names)}' needs TLS that verifies client certificates (tls_client_ca)")
    return known


def _check_tls(require_tls: str | None, tls: ssl.SSLContext | None) -> None:
    """Raise UsageError if clients must begin TLS, and there is no certificate for it."""
    if require_tls not in (None, "no") and tls is None:
        raise UsageError(f"require_tls={require_tls!r} needs a certificate, in tls")


def loop_factory(uvloop: Uvloop) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return the factory of event loops.  `uvloop` is `yes`, `no`, or `auto` (if installed); None is asyncio's own.

    Raises UsageError for `yes` where uvloop is not installed.
    """
    if uvloop == "no":
        return None
    try:
        import uvloop as fast
    except ImportError:
        if uvloop == "yes":
            raise UsageError("uvloop is not installed; pip install 'lmtpref[fast]' installs it") from None
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = fast.new_event_loop
    return factory
