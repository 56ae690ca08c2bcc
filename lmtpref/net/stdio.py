"""One conversation over two descriptors, as an MTA has it that starts its list server for each delivery."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from threading import Thread

from lmtpref.net.engine import Engine

_READ_OCTETS = 65_536


async def converse(engine: Engine, infd: int = 0, outfd: int = 1) -> None:
    """Serve one client, that is heard on the descriptor `infd` and answered on `outfd`, until the conversation is over.

    They may be pipes, sockets or files.  `engine.aclose` ends it as it ends any connection.
    """
    ours, theirs = socket.socketpair()
    await engine.adopt(ours)
    with theirs:
        Thread(target=_copy_in, args=[infd, theirs], daemon=True).start()  # it may be waiting for the client when all has been said
        await asyncio.to_thread(_copy_out, theirs, outfd)


def _copy_in(infd: int, server: socket.socket) -> None:
    """Give the server what the client says, and let it know the end."""
    with contextlib.suppress(OSError):  # the server has hung up
        while octets := os.read(infd, _READ_OCTETS):
            server.sendall(octets)
        server.shutdown(socket.SHUT_WR)


def _copy_out(server: socket.socket, outfd: int) -> None:
    """Give the client what the server says, as it says it, until either is gone."""
    with contextlib.suppress(OSError):
        while octets := memoryview(server.recv(_READ_OCTETS)):
            while octets:
                octets = octets[os.write(outfd, octets) :]
