"""The names that a program on this host has if it is given none."""

from __future__ import annotations

import socket

from lmtpref.protocol.syntax import is_hostname


def server_name() -> str:
    """Return the full name of this host for a greeting; `localhost` if the system knows no valid one (RFC 5321 section 4.1.2)."""
    return _full_name() or "localhost"


def client_name() -> str:
    """Return the name of this host for LHLO: its full name, or its address in brackets (RFC 5321 section 4.1.4)."""
    name = _full_name()
    if "." in name:
        return name
    try:
        return f"[{socket.gethostbyname(socket.gethostname())}]"
    except OSError:
        return "[127.0.0.1]"


def _full_name() -> str:
    """Return the full name, without the dot that ends it in DNS; empty if it is no host name."""
    name = socket.getfqdn().removesuffix(".")
    return name if is_hostname(name) else ""
