"""Ports of loopback for programs that cannot choose one themselves."""

from __future__ import annotations

import socket

_reserved: list[socket.socket] = []


def free_port() -> int:
    """Return an unused port of loopback, which the kernel gives to no other process while this one runs.

    A bound socket that does not listen reserves it.  With SO_REUSEADDR on both sockets, a server that names the port can listen on it
    (Linux, socket(7)), and until then connections are refused.
    """
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", 0))
    _reserved.append(reserved)
    port: int = reserved.getsockname()[1]
    return port
