"""Addresses at which a server listens, and their text form."""

from __future__ import annotations

import re
from typing import NamedTuple

from lmtpref.protocol.domains import can_be_looked_up
from lmtpref.protocol.errors import UsageError

SMTP_PORT = 25  # not allowed for LMTP: RFC 2033 sections 1 and 5
_TCP = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[^:\[\]]+):(?P<port>\d{1,5})", re.ASCII)


class TcpAddress(NamedTuple):
    """A host and a port; port 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class UnixAddress(NamedTuple):
    """The path of a Unix socket."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


Address = TcpAddress | UnixAddress


def parse_address(text: str) -> Address:
    """Return the address in `text`, HOST:PORT or unix:PATH.  Raises UsageError for another form, and for port 25."""
    if text.startswith("unix:") and len(text) > len("unix:"):
        return UnixAddress(text.removeprefix("unix:"))
    match = _TCP.fullmatch(text)
    if not match or int(match["port"]) > 65535 or not can_be_looked_up(match["host"]):
        raise UsageError(f"not an address, HOST:PORT or unix:PATH: {text!r}")
    refuse_smtp_port(text, int(match["port"]))
    return TcpAddress(match["host"].strip("[]"), int(match["port"]))


def refuse_smtp_port(text: str, port: int) -> None:
    """Raise UsageError if `port`, of the address `text`, is that of SMTP (RFC 2033 section 5)."""
    if port == SMTP_PORT:
        raise UsageError(f"{text}: TCP port 25 is SMTP's, LMTP must not be served there (RFC 2033 section 5)")
