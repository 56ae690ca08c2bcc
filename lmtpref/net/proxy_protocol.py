"""The PROXY protocol, versions 1 and 2: a load balancer sends the address of its client in a header.

Source: The PROXY protocol, versions 1 & 2 (haproxy.org, 2020/03/05).
"""

from __future__ import annotations

import ipaddress
import struct
from typing import NamedTuple

from lmtpref.protocol.errors import LmtpError

V1_OCTETS = 107  # the longest header of version 1, CRLF included; section 2.1
# Our choice: addresses take 232 octets at most, and the rest are TLVs, which are ignored.
V2_OCTETS = 4096
HEADER_SECONDS = 5.0  # for the header to come; section 2 asks for at least 3

_V1 = b"PROXY "
_V2 = b"\r\n\r\n\x00\r\nQUIT\n"
_V2_HEAD = struct.Struct("!12sBBH")  # signature, version and command, family and transport, octets that follow
_LOCAL, _PROXY = 0x20, 0x21
_ADDRESSES = {0x11: struct.Struct("!4s4sHH"), 0x21: struct.Struct("!16s16sHH")}  # TCP over IPv4, over IPv6
# The octets of the addresses of each family and transport; those of a client without TCP, and the unspecified one, name no client.
_SIZES = {0x00: 0, 0x11: 12, 0x12: 12, 0x21: 36, 0x22: 36, 0x31: 216, 0x32: 216}


class ProxyHeaderError(LmtpError):
    """Raised for a header that is malformed, too long, or missing."""


class ProxiedClient(NamedTuple):
    """The address and port of the client; both None if the header has none, as in a health check."""

    address: str | None = None
    port: int | None = None


def parse_header(octets: bytes) -> tuple[ProxiedClient, int] | None:
    """Return the client and the length of the header at the start of `octets`; None if the header is incomplete.

    Raises ProxyHeaderError as soon as `octets` cannot begin with a header.
    """
    if octets[:12] == _V2:
        return _parse_v2(octets)
    if octets[:6] == _V1:
        return _parse_v1(octets)
    if _V1.startswith(octets) or _V2.startswith(octets):
        return None
    raise ProxyHeaderError("no PROXY header")


def _parse_v1(octets: bytes) -> tuple[ProxiedClient, int] | None:
    line, ended, _ = octets[:V1_OCTETS].partition(b"\r\n")
    if not ended:
        if len(octets) >= V1_OCTETS:
            raise ProxyHeaderError(f"a header of version 1 over {V1_OCTETS} octets")
        return None
    words = line.decode("latin-1").split(" ")
    length = len(line) + 2
    if words[1] == "UNKNOWN":
        return ProxiedClient(), length
    try:
        family, source, destination, source_port, destination_port = words[1:]
        ip = {"TCP4": ipaddress.IPv4Address, "TCP6": ipaddress.IPv6Address}[family]
        if "%" in source + destination:
            raise ValueError("a scope is known to the load balancer only")  # noqa: TRY301
        ip(destination), _port(destination_port)
        return ProxiedClient(str(ip(source)), _port(source_port)), length
    except (KeyError, ValueError) as error:
        raise ProxyHeaderError(f"a malformed header of version 1: {line!r}") from error


def _port(text: str) -> int:
    # Section 2.1 forbids leading zeros.
    if not (text.isascii() and text.isdecimal() and len(text) <= 5 and int(text) <= 65_535 and text == str(int(text))):
        raise ValueError(text)
    return int(text)


def _parse_v2(octets: bytes) -> tuple[ProxiedClient, int] | None:
    if len(octets) < _V2_HEAD.size:
        return None
    _, command, family, following = _V2_HEAD.unpack_from(octets)
    length = _V2_HEAD.size + following
    if command not in (_LOCAL, _PROXY):
        raise ProxyHeaderError(f"version and command 0x{command:02x}")
    if length > V2_OCTETS:
        raise ProxyHeaderError(f"a header of version 2 over {V2_OCTETS} octets")
    if command == _PROXY and family not in _SIZES:
        raise ProxyHeaderError(f"address family and transport 0x{family:02x}")
    if command == _PROXY and following < _SIZES[family]:
        raise ProxyHeaderError("a header of version 2 without its addresses")
    if len(octets) < length:
        return None
    addresses = _ADDRESSES.get(family)
    if command == _LOCAL or not addresses:
        return ProxiedClient(), length
    source, _, port, _ = addresses.unpack_from(octets, _V2_HEAD.size)
    return ProxiedClient(str(ipaddress.ip_address(source)), port), length
