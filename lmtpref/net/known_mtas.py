"""Known MTAs: those that connect from a known address, and those whose TLS certificate has a known name."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable

from lmtpref.protocol.domains import a_labels
from lmtpref.protocol.errors import UsageError
from lmtpref.protocol.handler import Peer
from lmtpref.protocol.syntax import Path

LOOPBACK = ("127.0.0.0/8", "::1")
_CERTIFICATE = "tls:"

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class KnownMtas:
    """The MTAs that a server knows: networks, addresses, host names, and `tls:NAME` for a name in a client certificate.

    A host name is resolved once, when the object is created.  None means loopback.

    Raises UsageError: if a host name has no address, or the name after `tls:` is not a host name.
    """

    def __init__(self, known_mtas: Iterable[str] | None) -> None:
        entries = LOOPBACK if known_mtas is None else tuple(known_mtas)
        self.certificate_names = frozenset(_certificate_name(entry) for entry in entries if entry.startswith(_CERTIFICATE))
        self._networks = [network for entry in entries if not entry.startswith(_CERTIFICATE) for network in _networks(entry)]

    def peer(self, address: str | None, port: int | None = None, *, is_proxied: bool = False) -> Peer:
        """Return the peer at an address, in plaintext; None means a Unix socket or, with `is_proxied`, an unnamed client."""
        known = not is_proxied if address is None else self.has_address(address)
        return Peer(address, port, known=known, tls_may_identify=bool(self.certificate_names))

    def has_address(self, address: str) -> bool:
        """Return whether an IP address is a known MTA's."""
        ip = ipaddress.ip_address(address.partition("%")[0])
        ip = getattr(ip, "ipv4_mapped", None) or ip
        return any(ip in network for network in self._networks)

    def has_certificate(self, names: Iterable[str]) -> bool:
        """Return whether a certificate with these names is a known MTA's; a wildcard in it matches no entry."""
        return not self.certificate_names.isdisjoint(map(a_labels, names))


def _certificate_name(entry: str) -> str:
    name = entry.removeprefix(_CERTIFICATE)
    try:
        return a_labels(Path.parse(f"postmaster@{name}").domain)
    except UsageError:
        raise UsageError(f"known_mtas: {entry!r} has no host name, as tls:mx.home.test has; wildcards are not allowed") from None


def _networks(mta: str) -> list[Network]:
    try:
        return [ipaddress.ip_network(mta, strict=False)]
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(a_labels(mta), None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # UnicodeError: see `can_be_looked_up`
        raise UsageError(f"known_mtas: {mta!r} is neither a network nor a host name with an address") from error
    return [ipaddress.ip_network(str(name[0]).partition("%")[0]) for *_, name in found]
