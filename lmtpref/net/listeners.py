"""Listeners, and the sockets bound to their addresses."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import shutil
import socket
import stat
from collections.abc import Iterable
from typing import Literal, NamedTuple

from lmtpref.protocol.domains import a_labels
from lmtpref.protocol.endpoints import Address, TcpAddress, UnixAddress, parse_address
from lmtpref.protocol.errors import UsageError

BACKLOG = 1024  # connections waiting to be accepted
ACCEPTED_A_TURN = 64  # connections before others are served; uvloop accepts all that wait
UNIX_MODE = 0o660  # owner and group: file permissions decide which processes may connect
# Our texts for bind()'s errors.
_BIND_PROBLEMS = {
    errno.EADDRINUSE: "address already in use",
    errno.EADDRNOTAVAIL: "not an address of this machine",
    errno.EACCES: "permission denied",
    errno.ENOENT: "no such directory",
    errno.ENOTDIR: "no such directory",
}


class Listener(NamedTuple):
    """A listening address, and the clients that it is for.

    `proxy_from` are networks of load balancers, which begin every connection with a PROXY header; if empty, no header is read.
    `require_tls` is as in `Settings`; None means the server's setting.
    `bound` is a socket that another engine has bound to the address; that engine also removes the file.
    """

    address: str
    proxy_from: tuple[str, ...] = ()
    require_tls: Literal["no", "remote", "yes"] | None = None
    bound: socket.socket | None = None

    def check(self) -> None:
        """Raise UsageError if a member of `proxy_from` is not a network."""
        for network in self.proxy_from:
            try:
                ipaddress.ip_network(network)
            except ValueError as error:
                raise UsageError(f"proxy_from of {self.address}: {error}") from None


class SocketFile(NamedTuple):
    """The file of a Unix socket, as it was when the socket was bound.

    The bound socket keeps its inode, so no other file has the same number until it is closed.
    """

    path: str
    device: int
    inode: int

    @classmethod
    def of(cls, path: str) -> SocketFile:
        """Return the file at `path`."""
        found = os.lstat(path)
        return cls(path, found.st_dev, found.st_ino)

    def remove(self) -> None:
        """Remove the file, unless another file has taken its path.  A file that cannot be removed stays, for the next server to remove."""
        with contextlib.suppress(OSError):
            if SocketFile.of(self.path) == self:
                os.unlink(self.path)


def tcp_among(addresses: Iterable[str]) -> TcpAddress:
    """Return the first TCP port among a server's addresses.  Raises UsageError without one."""
    for address in map(parse_address, addresses):
        if isinstance(address, TcpAddress):
            return address
    raise UsageError("this server listens on no TCP port")


def unix_among(addresses: Iterable[str]) -> UnixAddress:
    """Return the first Unix socket among a server's addresses.  Raises UsageError without one."""
    for address in map(parse_address, addresses):
        if isinstance(address, UnixAddress):
            return address
    raise UsageError("this server listens on no Unix socket")


def bind(address: Address, *, allow_remote: bool = False, group: str | int | None = None) -> socket.socket:
    """Return a socket that listens on `address`, created in the caller's thread so that errors are raised at once.

    Raises UsageError that names the address and the reason; one reason is an address other than loopback
    without `allow_remote` (RFC 2033 section 5: not across wide area networks).
    """
    try:
        return _bind_unix(address, group) if isinstance(address, UnixAddress) else _bind_tcp(address, allow_remote=allow_remote)
    except OSError as error:
        problem = _BIND_PROBLEMS.get(error.errno or 0, error.strerror or str(error))
        raise UsageError(f"cannot listen on {address}: {problem}") from error


def spell(listening: socket.socket) -> str:
    """Return the address of a bound socket, as `parse_address` reads it."""
    name = listening.getsockname()
    return str(UnixAddress(name) if isinstance(name, str) else TcpAddress(name[0], name[1]))


def _bind_tcp(address: TcpAddress, *, allow_remote: bool) -> socket.socket:
    found = socket.getaddrinfo(a_labels(address.host), address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, name = found[0]
    if not allow_remote and not ipaddress.ip_address(str(name[0]).partition("%")[0]).is_loopback:
        raise UsageError(f"{address} can be reached from other machines: that needs allow_remote and known_mtas (RFC 2033 section 5)")
    listening = socket.create_server((str(name[0]), address.port), family=family, backlog=BACKLOG)
    # Connections inherit this.  asyncio sets it only if the socket names its protocol, which create_server's does not.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def _bind_unix(address: UnixAddress, group: str | int | None) -> socket.socket:
    if not hasattr(socket, "AF_UNIX"):
        raise UsageError(f"{address}: this system has no Unix sockets")
    _remove_stale(address.path)
    with contextlib.ExitStack() as undoing:
        listening = undoing.enter_context(socket.socket(socket.AF_UNIX))
        listening.bind(address.path)
        undoing.callback(os.unlink, address.path)
        # The socket does not listen yet, so no client can connect before this.
        os.chmod(address.path, UNIX_MODE)
        if group is not None:
            _give(address.path, group)
        listening.listen(BACKLOG)
        undoing.pop_all()
    return listening


def _give(path: str, group: str | int) -> None:
    """Set the group of the file."""
    try:
        shutil.chown(path, group=group)
    except LookupError:
        raise UsageError(f"unix_group: there is no group {group!r}") from None
    except PermissionError:
        raise UsageError(f"unix_group: {group!r} is not a group of this process, so it cannot own unix:{path}") from None


def _remove_stale(path: str) -> None:
    """Remove the socket file of a server that is gone; leave a socket that answers, and any other file."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.stat(path).st_mode):
            with socket.socket(socket.AF_UNIX) as probe:
                try:
                    probe.connect(path)
                except ConnectionRefusedError:
                    os.unlink(path)
