"""The state that all connections of one server share."""

from __future__ import annotations

import asyncio
import logging
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Literal, Protocol

from lmtpref.net.known_mtas import KnownMtas
from lmtpref.protocol.catalogue import TOO_MANY_CONNECTIONS_421, TOO_MANY_FROM_PEER_421
from lmtpref.protocol.handler import Handler, Peer
from lmtpref.protocol.observer import Observer
from lmtpref.protocol.replies import Reply
from lmtpref.protocol.server_limits import MAX_READ_OCTETS, Limits
from lmtpref.protocol.session import Session
from lmtpref.protocol.settings import Settings

log = logging.getLogger(__name__)

# Over a limit, this many connections are kept until the client has read its 421; any more are closed at once.
SPARE_CONNECTIONS = 64
CROWDED_READ_OCTETS = 4_096  # per read, while the server is crowded

ObserverFactory = Callable[[], Observer]


class Interposer(Handler):
    """A handler that wraps the server's handler on one connection; its `observer` receives the events of that connection."""

    observer: Observer

    def around(self, handler: Handler) -> Interposer:
        """Return an interposer that wraps `handler` on the same connection."""
        raise NotImplementedError


class ServedConnection(Protocol):
    """What the server and an interposer may do with a `Connection`."""

    # Replaces the transport's `write` for the next octets.
    write_next: Callable[[bytes], None] | None

    @property
    def transport(self) -> asyncio.Transport:
        """The current transport; TLS replaces it."""

    @property
    def in_transaction(self) -> bool:
        """Whether a mail transaction is open here."""

    def suspend(self, work: Coroutine[object, object, None]) -> None:
        """Suspend the conversation until `work` is done."""

    def switch_handler(self, handler: Handler) -> None:
        """Use `handler` from the next MAIL on."""

    def wind_down(self, *, now: bool) -> None:
        """Close with 421: at once if `now`, else when no transaction is open."""

    def drop(self, *, reset: bool = False) -> None:
        """Close without another reply; if `reset`, discard the written replies and send a TCP RST."""

    def abort(self, *, reset: bool = False) -> None:
        """Drop the connection and its unsent octets; if `reset`, send a TCP RST."""


Interpose = Callable[[Handler, ServedConnection], Interposer]


class _ReadBuffer(threading.local):
    """The buffer that all connections of a thread read into: each consumes its octets before the next one reads."""

    def __init__(self) -> None:
        self.view = memoryview(bytearray(MAX_READ_OCTETS))


READ_BUFFER = _ReadBuffer()


@dataclass(slots=True, eq=False)
class ServerContext:
    """The state that all connections of one server share."""

    handler: Handler
    settings: Settings
    limits: Limits
    known_mtas: KnownMtas
    tls: ssl.SSLContext | None = None
    observers: Sequence[ObserverFactory] = ()  # each creates one observer per connection
    interpose: Interpose | None = None
    connections: set[ServedConnection] = field(default_factory=set)
    cleanup_tasks: set[asyncio.Task[None]] = field(default_factory=set)  # hooks still running for connections that are gone
    # Connections whose PROXY header has not come yet.
    gates: set[asyncio.Transport] = field(default_factory=set)
    # Address -> number of its connections; known MTAs are not counted.
    peers: Counter[str] = field(default_factory=Counter)
    buffered_octets: int = 0
    stopping: bool = False

    def open_session(self, connection: ServedConnection, settings: Settings, peer: Peer) -> Session:
        """Return the session of a new connection, with its handler and its observers."""
        handler, observers = self.handler, [make() for make in self.observers]
        if self.interpose is not None:
            interposer = self.interpose(handler, connection)
            handler = interposer
            observers.append(interposer.observer)
        return Session(settings, peer, handler, tuple(observers))

    def admit(self, connection: ServedConnection, peer: Peer) -> Reply | None:
        """Count a connection; return the reply that rejects it, or None if there is room."""
        self.connections.add(connection)
        if network := _counted_network(peer):
            self.peers[network] += 1
        if len(self.connections) > self.limits.max_connections:
            return TOO_MANY_CONNECTIONS_421
        return TOO_MANY_FROM_PEER_421 if self.peers[network] > self.limits.max_peer_connections else None

    def dismiss(self, connection: ServedConnection, peer: Peer) -> None:
        """Stop counting a connection."""
        self.connections.discard(connection)
        self._uncount(peer)

    def _uncount(self, peer: Peer) -> None:
        if network := _counted_network(peer):
            self.peers[network] -= 1
            if not self.peers[network]:
                del self.peers[network]

    def may_linger(self, peer: Peer) -> bool:
        """Return whether a connection that a 421 closed may stay open until `peer` closes it too."""
        limits = self.limits
        return (
            len(self.connections) <= limits.max_connections + SPARE_CONNECTIONS
            and self.peers[_counted_network(peer)] <= limits.max_peer_connections + SPARE_CONNECTIONS
        )

    def peer_of(self, transport: asyncio.BaseTransport) -> Peer:
        """Return the peer of a transport."""
        name = transport.get_extra_info("peername")
        address, port = name[:2] if isinstance(name, tuple) and len(name) >= 2 else (None, None)
        return self.known_mtas.peer(address, port)

    def identify(self, peer: Peer, names: tuple[str, ...]) -> None:
        """Note the names in the certificate of `peer`, which may make it a known MTA."""
        peer.tls_names = names
        if not peer.known and self.known_mtas.has_certificate(names):
            self._uncount(peer)
            peer.known = True

    def close_gates(self) -> None:
        """Close the connections whose PROXY header has not come."""
        for transport in list(self.gates):
            transport.abort()

    def settings_of(self, require_tls: Literal["no", "remote", "yes"] | None) -> Settings:
        """Return the settings of a new connection on a listener with that `require_tls`."""
        return self.settings if require_tls is None else replace(self.settings, require_tls=require_tls)

    @property
    def crowded(self) -> bool:
        """Whether the open transactions occupy more memory than `max_buffered_octets`."""
        return self.buffered_octets > self.limits.max_buffered_octets


def _counted_network(peer: Peer) -> str:
    """Return the key that counts the connections of `peer`: its address, or its /64 network for IPv6; empty for a known MTA."""
    if peer.known or peer.address is None:
        return ""
    ip = ip_address(peer.address.partition("%")[0])
    return str(IPv6Network((ip, 64), strict=False)) if isinstance(ip, IPv6Address) and not ip.ipv4_mapped else peer.address
