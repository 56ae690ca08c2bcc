"""TLS on a connection that began in plaintext (RFC 3207)."""

from __future__ import annotations

import asyncio
import ssl
import traceback


def certificate_names(transport: asyncio.Transport) -> tuple[str, ...]:
    """Return the dNSName subject alternative names of the peer's verified certificate; () without a certificate."""
    certificate = transport.get_extra_info("peercert") or {}
    return tuple(name for kind, name in certificate.get("subjectAltName", ()) if kind == "DNS")


async def begin_tls(
    transport: asyncio.Transport,
    protocol: asyncio.BaseProtocol,
    context: ssl.SSLContext,
    *,
    handshake_seconds: float,
    shutdown_seconds: float,
) -> asyncio.Transport | None:
    """Return the transport through TLS; None if the handshake failed or took longer than `handshake_seconds`."""
    loop = asyncio.get_running_loop()
    try:
        return await loop.start_tls(
            transport,
            protocol,
            context,
            server_side=True,
            ssl_handshake_timeout=handshake_seconds,
            ssl_shutdown_timeout=shutdown_seconds,
        )
    except OSError as error:
        # asyncio's frames refer to the error, which refers to them, and to 256 KiB.
        traceback.clear_frames(error.__traceback__)
        return None
