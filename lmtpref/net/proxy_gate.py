"""The PROXY header: read it before the conversation begins, and send nothing before it has come."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from typing import cast

from lmtpref.net.connection import Connection
from lmtpref.net.context import ServerContext
from lmtpref.net.listeners import Listener
from lmtpref.net.proxy_protocol import HEADER_SECONDS, ProxyHeaderError, parse_header

log = logging.getLogger(__name__)


class ProxyGate(asyncio.Protocol):
    """Read the header, then let a `Connection` take over the transport.

    Close without a greeting: a connection from outside `proxy_from`, a malformed header, and a header that misses its deadline.
    """

    def __init__(self, context: ServerContext, listener: Listener) -> None:
        self._context = context
        self._listener = listener
        self._octets = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the header, if the peer is in `proxy_from`."""
        self._transport = cast(asyncio.Transport, transport)
        self._context.gates.add(self._transport)
        self._deadline = asyncio.get_running_loop().call_later(HEADER_SECONDS, self._refuse, "no PROXY header in time")
        if not self._is_trusted():
            self._refuse("not one of proxy_from")

    def data_received(self, data: bytes) -> None:
        """Parse the header, and pass on the octets that follow it."""
        self._octets += data
        try:
            parsed = parse_header(self._octets)
        except ProxyHeaderError as error:
            self._refuse(str(error))
            return
        if parsed is None:
            return
        self._deadline.cancel()
        self._context.gates.discard(self._transport)
        client, length = parsed
        # A health check names no client, and an unnamed client is never a known MTA.
        connection = Connection(
            self._context, self._context.known_mtas.peer(client.address, client.port, is_proxied=True), self._listener.require_tls
        )
        self._transport.set_protocol(connection)
        connection.connection_made(self._transport)
        self._hand_over(connection, self._octets[length:])

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Stop waiting."""
        self._deadline.cancel()
        self._context.gates.discard(self._transport)

    @staticmethod
    def _hand_over(connection: Connection, octets: bytes) -> None:
        """Pass the octets that came with the header to a connection, in the way asyncio passes those that follow."""
        while octets:
            buffer = connection.get_buffer(len(octets))
            part = octets[: len(buffer)]
            buffer[: len(part)] = part
            connection.buffer_updated(len(part))
            octets = octets[len(part) :]

    def _is_trusted(self) -> bool:
        name = self._transport.get_extra_info("peername")
        if not isinstance(name, tuple):
            return True  # a Unix socket: file permissions decided
        ip = ipaddress.ip_address(str(name[0]).partition("%")[0])
        return any(ip in ipaddress.ip_network(network) for network in self._listener.proxy_from)

    def _refuse(self, problem: str) -> None:
        log.warning("closed without a greeting: %s: %s", self._transport.get_extra_info("peername"), problem)
        self._transport.abort()


def protocol_for(context: ServerContext, listener: Listener) -> asyncio.BaseProtocol:
    """Return the protocol object for the next client of a listener."""
    return ProxyGate(context, listener) if listener.proxy_from else Connection(context, require_tls=listener.require_tls)
