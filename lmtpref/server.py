"""The public server: an engine, a handler, and the handler's queues."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, cast

from lmtpref.config.configuration import Configuration
from lmtpref.journal import Journal
from lmtpref.lists import ListDirectory, ListHandler, Mailboxes, MailingList, MemoryDirectory, MemoryQueues, Queues
from lmtpref.net.client.asyncio import AsyncClient
from lmtpref.net.client.sync import Client
from lmtpref.net.context import Interpose, ObserverFactory
from lmtpref.net.engine import GRACE_SECONDS, Engine, Uvloop, loop_factory
from lmtpref.net.engine_thread import EngineThread
from lmtpref.net.known_mtas import KnownMtas
from lmtpref.net.listeners import Listener, tcp_among, unix_among
from lmtpref.net.stdio import converse
from lmtpref.net.transaction_record import JournalObserver
from lmtpref.protocol.errors import UsageError
from lmtpref.protocol.handler import Handler
from lmtpref.protocol.server_limits import Limits
from lmtpref.protocol.settings import Settings

if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault

    Q_co = TypeVarWithDefault("Q_co", bound=Queues, covariant=True, default=MemoryQueues)
else:
    # From Python 3.13 on, a TypeVar can have a default.
    Q_co = TypeVar("Q_co", covariant=True)

DEFAULT_SETTINGS = Settings(hostname="lists.example")


def listeners_of(configuration: Configuration) -> list[Listener]:
    """Return the listeners of `configuration`."""
    return [*map(Listener, configuration.listen), *(Listener(**listener) for listener in configuration.listeners)]


class Server(Generic[Q_co]):
    """An LMTP server on loopback, on a port that the system chooses unless `listen` says otherwise.

    `with Server() as server:` runs it in a thread, `async with Server() as server:` on the caller's loop.

    With `lists`, its handler judges posts to those lists and keeps them in `queues`; a given `handler` is used instead.
    With neither, it accepts every message for every recipient (see `Mailboxes`).

    Raises UsageError: for options that exclude each other or would have no effect, and from `start` for an address that
    cannot be bound.
    """

    def __init__(
        self,
        handler: Handler | None = None,
        *,
        lists: Iterable[MailingList] | MemoryDirectory | None = None,
        queues: Q_co | None = None,
        listen: str | Listener | Iterable[str | Listener] = "127.0.0.1:0",
        settings: Settings = DEFAULT_SETTINGS,
        limits: Limits | None = None,
        known_mtas: Iterable[str] | None = None,
        allow_remote: bool = False,
        unix_group: str | int | None = None,
        tls: ssl.SSLContext | None = None,
        uvloop: Uvloop = "no",
        observers: Sequence[ObserverFactory] = (),
        interpose: Interpose | None = None,
        journal: Journal | None = None,
    ) -> None:
        if handler is not None and lists is not None:
            raise UsageError("a server has a handler or lists, not both")
        if queues is not None and handler is None and lists is None:
            raise UsageError("queues are for lists or a handler")
        self._lists: MemoryDirectory | None = None
        self._queues: Queues | None = queues
        if handler is None:
            handler = Mailboxes() if lists is None else self._list_handler(lists, settings.hostname)
        self._journal = journal
        self._attach(handler)
        self._listen = [listen] if isinstance(listen, str | Listener) else list(listen)
        self._engine = Engine(
            handler,
            settings,
            limits=limits,
            known_mtas=known_mtas,
            allow_remote=allow_remote,
            unix_group=unix_group,
            tls=tls,
            observers=[*observers, partial(JournalObserver, journal.ended)] if journal else observers,
            interpose=interpose,
        )
        self._thread = EngineThread(self._engine, loop_factory(uvloop))
        self._closed = asyncio.Event()

    @classmethod
    def from_config(
        cls,
        configuration: Configuration,
        *,
        listen: Iterable[str | Listener] = (),
        allow_remote: bool = False,
        uvloop: Uvloop = "no",
        observers: Sequence[ObserverFactory] = (),
        interpose: Interpose | None = None,
        journal: Journal | None = None,
    ) -> Server[Any]:
        """Return the server that `configuration` describes; `listen`, if given, replaces its addresses.

        The caller closes its `queues` after it has stopped.
        """
        tls, group = configuration.tls(), configuration.group()
        queues: Any = configuration.queues()  # its engine determines what they offer, such as queues["in"]
        server = cls(
            configuration.handler(queues),
            queues=queues,
            listen=list(listen) or listeners_of(configuration),
            settings=configuration.settings,
            limits=configuration.limits,
            known_mtas=configuration.known_mtas,
            allow_remote=allow_remote or configuration.allow_remote,
            unix_group=group,
            tls=tls,
            uvloop=uvloop,
            observers=observers,
            interpose=interpose,
            journal=journal,
        )
        server._take(configuration.directory)
        return server

    def reconfigure(self, configuration: Configuration, prepared: tuple[KnownMtas, ssl.SSLContext | None] | None = None) -> None:
        """Apply `configuration`, except its listeners.

        New connections use it at once.  Open ones keep their settings, and use the rest from their next transaction on.
        `prepared` are the known MTAs and the TLS context, if a thread has read them, because resolving host names may block.

        Raises UsageError if a host name in `known_mtas` has no address, or the certificate cannot be read.
        """
        known_mtas, tls = prepared or (configuration.known_mtas, configuration.tls())
        self._attach(handler := configuration.handler(self.queues))
        self._engine.reconfigure(handler, self._capped(configuration.settings), configuration.limits, known_mtas, tls)
        self._take(configuration.directory)

    @property
    def queues(self) -> Q_co:
        """The queues of the accepted messages.  Raises UsageError if a handler without queues was given."""
        if self._queues is None:
            raise UsageError("this server has no queues; ask its handler for the messages")
        return cast(Q_co, self._queues)

    @property
    def lists(self) -> MemoryDirectory:
        """The lists in memory.  Raises UsageError without any."""
        if self._lists is None:
            raise UsageError("this server has no lists in memory")
        return self._lists

    @property
    def handler(self) -> Handler:
        """The handler for new connections.  It may be replaced while the server runs."""
        return self._engine.handler

    @handler.setter
    def handler(self, handler: Handler) -> None:
        self._attach(handler)
        self._engine.handler = handler

    @property
    def addresses(self) -> list[str]:
        """The addresses that it listens on, HOST:PORT or unix:PATH, with the real port numbers; empty when it does not run."""
        return self._engine.addresses

    @property
    def host(self) -> str:
        """The host of its first TCP listener.  Raises UsageError if it has none."""
        return tcp_among(self.addresses).host

    @property
    def port(self) -> int:
        """The port of its first TCP listener.  Raises UsageError if it has none."""
        return tcp_among(self.addresses).port

    @property
    def unix_path(self) -> str:
        """The path of its first Unix socket.  Raises UsageError if it has none."""
        return unix_among(self.addresses).path

    def _list_handler(self, lists: Iterable[MailingList] | MemoryDirectory, hostname: str) -> ListHandler:
        """Create the handler for `lists`, with queues in memory unless others were given."""
        self._lists = lists if isinstance(lists, MemoryDirectory) else MemoryDirectory(lists)
        if self._queues is None:
            self._queues = MemoryQueues()
        return ListHandler(self._lists, self._queues, hostname=hostname)

    def _attach(self, handler: Handler) -> None:
        """Connect the journal, if there is one, to the decisions of `handler`."""
        if self._journal and isinstance(handler, ListHandler):
            handler.on_decision = self._journal.decided

    def _take(self, directory: ListDirectory) -> None:
        """Show the lists, if they are in memory."""
        self._lists = directory if isinstance(directory, MemoryDirectory) else None

    def client(self, local_hostname: str = "localhost") -> Client:
        """Return a client that is connected to the first listener, for a `with` block.

        Raises UsageError: if the server does not run.
        """
        return Client(self._first_address(), local_hostname=local_hostname)

    def async_client(self, local_hostname: str = "localhost") -> AsyncClient:
        """Return a client for the first listener, for an `async with` block, which connects it.

        Raises UsageError: if the server does not run.
        """
        return AsyncClient(self._first_address(), local_hostname=local_hostname)

    def _first_address(self) -> str:
        if not self.addresses:
            raise UsageError("this server is not running")
        return self.addresses[0]

    def _bind(self) -> None:
        if self.addresses:
            raise UsageError("this server is already running")
        self._engine.bind(self._listen)

    async def open_queues(self) -> None:
        """Connect to the engine of the queues, and limit SIZE to what it can store.  Raises UsageError, or QueueUnreachableError."""
        if self._queues is not None:
            await self._queues.open()
        self._engine.settings = self._capped(self._engine.settings)

    def _capped(self, settings: Settings) -> Settings:
        limit = None if self._queues is None else self._queues.max_message_octets
        return settings if limit is None else replace(settings, max_message_octets=min(limit, settings.max_message_octets))

    def start(self) -> Self:
        """Run in a thread; return when the server accepts connections."""
        asyncio.run(self.open_queues())
        self._bind()
        self._thread.start()
        return self

    def stop(self, grace_seconds: float = GRACE_SECONDS) -> None:
        """Stop: open transactions may finish within `grace_seconds`, all other connections get 421 4.3.2 at once."""
        self._thread.stop(grace_seconds)

    async def converse(self, infd: int = 0, outfd: int = 1) -> None:
        """Serve one client over two descriptors instead of listening, until the conversation is over (see `stdio.converse`)."""
        await converse(self._engine, infd, outfd)

    async def serve_forever(self) -> None:
        """Serve on the running event loop until `aclose` is called or the task is cancelled."""
        async with self:
            await self.wait_closed()

    async def wait_closed(self) -> None:
        """Wait until the server has stopped; return at once if it does not run."""
        if self._thread.is_running:
            await self._thread.wait()
        elif self.addresses:
            await self._closed.wait()

    async def aclose(self, grace_seconds: float = GRACE_SECONDS) -> None:
        """Stop serving on the event loop; open transactions are treated as by `stop`."""
        await self._engine.aclose(grace_seconds)
        self._closed.set()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        await self.open_queues()
        self._bind()
        self._closed = asyncio.Event()
        await self._engine.serve()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
