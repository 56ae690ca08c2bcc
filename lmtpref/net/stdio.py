"""One conversation over two descriptors, for an MTA that starts its list server for each delivery."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from threading import Thread

from lmtpref.net.engine import Engine

_READ_OCTETS = 65_536


async def converse(engine: Engine, infd: int = 0, outfd: int = 1) -> None:
    """Serve one client until the conversation is over: read from the descriptor `infd`, write to `outfd`.

    They may be pipes, sockets or files.  `engine.aclose` ends the conversation like any connection.
    """
    ours, theirs = socket.socketpair()
    await engine.adopt(ours)
    with theirs:
        # A daemon thread, since it may still wait for the client after the conversation has ended.
        Thread(target=_copy_in, args=[infd, theirs], daemon=True).start()
        await asyncio.to_thread(_copy_out, theirs, outfd)


def _copy_in(infd: int, server: socket.socket) -> None:
    """Copy the client's octets to the server, and then its end of stream."""
    # The server has closed the connection.
    with contextlib.suppress(OSError):
        while octets := os.read(infd, _READ_OCTETS):
            server.sendall(octets)
        server.shutdown(socket.SHUT_WR)


def _copy_out(server: socket.socket, outfd: int) -> None:
    """Copy the server's octets to the client as they come, until either side is gone."""
    with contextlib.suppress(OSError):
        while octets := memoryview(server.recv(_READ_OCTETS)):
            while octets:
                octets = octets[os.write(outfd, octets) :]
