"""aiosmtpd's Controller and UnixSocketController on our engine: change one import, keep the rest."""

from __future__ import annotations

import asyncio
import os
import ssl
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

from aiosmtpd.controller import get_localhost
from aiosmtpd.smtp import DATA_SIZE_DEFAULT

from lmtpref.net.aiosmtpd.handler import AiosmtpdHandler
from lmtpref.net.engine import Engine
from lmtpref.net.engine_thread import EngineThread
from lmtpref.net.own_names import server_name
from lmtpref.protocol.endpoints import TcpAddress, UnixAddress
from lmtpref.protocol.errors import UsageError
from lmtpref.protocol.handler import Handler
from lmtpref.protocol.server_limits import Limits
from lmtpref.protocol.settings import Settings

_NO_AUTH = "AUTH is not supported; a client is identified by its address, or by its permission to open the Unix socket"
_NO_TLS_AT_ONCE = "use tls_context, which enables STARTTLS"

# Arguments of aiosmtpd that ask for something this engine does not do: the neutral value, and why no other value works.
_REFUSED: Mapping[str, tuple[object, str]] = {
    "loop": (None, "the controller creates the event loop in its own thread"),
    "enable_SMTPUTF8": (True, "SMTPUTF8 is always offered"),
    "ident": (None, "the greeting names lmtpref"),
    "ssl_context": (None, _NO_TLS_AT_ONCE),
    "auth_required": (False, _NO_AUTH),
    "auth_require_tls": (True, _NO_AUTH),
    "auth_exclude_mechanism": (None, _NO_AUTH),
    "auth_callback": (None, _NO_AUTH),
    "authenticator": (None, _NO_AUTH),
    "command_call_limit": (None, "use max_errors, which limits the errors on one connection"),
    "proxy_protocol_timeout": (None, "lmtpref.Listener has proxy_from instead"),
    "server_kwargs": (None, "give its entries as arguments of the controller"),
}


class _Controller(ABC):
    """The common part of both controllers: a handler, an engine, and a thread while it runs."""

    def __init__(
        self,
        handler: object,
        *,
        server_hostname: str | None = None,
        data_size_limit: int = DATA_SIZE_DEFAULT,
        decode_data: bool = False,
        tls_context: ssl.SSLContext | None = None,
        require_starttls: bool = False,
        timeout: float = 300.0,  # seconds
        ready_timeout: float | None = None,  # never reached: the address is bound before the thread starts  # noqa: ARG002
        **others: object,
    ) -> None:
        _refuse(type(self), data_size_limit=data_size_limit, **others)
        hostname = server_hostname or server_name()
        self._settings = Settings(
            hostname=hostname,
            max_message_octets=data_size_limit,
            require_tls="yes" if require_starttls else "no",
        )
        self._tls = tls_context
        self._limits = Limits(idle_seconds=timeout)
        self._decode_data = decode_data
        self._thread: EngineThread | None = None
        self.server: Engine | None = None  # while it runs
        self.loop: asyncio.AbstractEventLoop | None = None  # the thread's, while it runs
        self.handler = handler

    @property
    def handler(self) -> object:
        """The handler as it was given.  A new value takes effect for new connections."""
        return self._handler

    @handler.setter
    def handler(self, handler: object) -> None:
        if self._tls and hasattr(handler, "handle_STARTTLS"):
            raise UsageError("handle_STARTTLS is not called; configure client certificates in tls_context")
        self._asked = handler if isinstance(handler, Handler) else AiosmtpdHandler(handler, self._settings, decode_data=self._decode_data)
        self._handler = handler
        if self.server:
            self.server.handler = self._asked

    def start(self) -> None:
        """Start listening; when this returns, clients may connect.  Raises UsageError if the address cannot be bound."""
        if self.server:
            raise UsageError("this controller is already running")
        engine = self._engine()
        engine.bind([self._address()])
        self._thread = EngineThread(engine, self._new_loop).start()
        self.server = engine

    def stop(self, no_assert: bool = False) -> None:  # noqa: FBT001, FBT002  (aiosmtpd's signature)
        """Stop, and wait until the engine has stopped, which takes a bounded time.

        Raises UsageError if the controller does not run, unless `no_assert` is true.
        """
        if self._thread:
            self._thread.stop()
        elif not no_assert:
            raise UsageError("this controller is not running")
        self._thread = self.server = self.loop = None

    def _engine(self) -> Engine:
        return Engine(self._asked, self._settings, limits=self._limits, tls=self._tls)

    def _new_loop(self) -> asyncio.AbstractEventLoop:
        self.loop = asyncio.new_event_loop()
        return self.loop

    @abstractmethod
    def _address(self) -> str:
        """Return the address to listen on, in the form that `Engine.bind` reads."""


class Controller(_Controller):
    """A controller that serves `handler`, aiosmtpd's kind or ours, on a TCP port, in a thread.

    Port 0 lets the system choose; `port` is the real one from `start` on.  `data_size_limit` is in octets, `timeout` in
    seconds without an octet from the client.  `allow_remote` and `known_mtas` are needed for an address other than loopback.
    Raises UsageError for an aiosmtpd argument that this engine does not support; the error names the argument.
    """

    def __init__(
        self,
        handler: object,
        hostname: str | None = None,
        port: int = 8025,
        loop: None = None,
        *,
        allow_remote: bool = False,
        known_mtas: Iterable[str] | None = None,
        **keywords: Any,  # noqa: ANN401  (checked by name, and each by its own annotation)
    ) -> None:
        super().__init__(handler, loop=loop, **keywords)
        self.hostname = get_localhost() if hostname is None else hostname
        self.port = self._wanted_port = port
        self._allow_remote = allow_remote
        self._known_mtas = known_mtas

    def start(self) -> None:
        """Start as `_Controller.start` does; afterwards `port` is the port that clients reach."""
        super().start()
        assert self.server
        self.port = int(self.server.addresses[0].rpartition(":")[2])

    def _engine(self) -> Engine:
        known, remote = self._known_mtas, self._allow_remote
        return Engine(self._asked, self._settings, limits=self._limits, known_mtas=known, allow_remote=remote, tls=self._tls)

    def _address(self) -> str:
        return str(TcpAddress(self.hostname, self._wanted_port))


class UnixSocketController(_Controller):
    """A controller that serves `handler` on the Unix socket at path `unix_socket`; otherwise like `Controller`."""

    def __init__(
        self,
        handler: object,
        unix_socket: str | os.PathLike[str],
        loop: None = None,
        **keywords: Any,  # noqa: ANN401  (as Controller's)
    ) -> None:
        super().__init__(handler, loop=loop, **keywords)
        self.unix_socket = os.fspath(unix_socket)

    def _address(self) -> str:
        return str(UnixAddress(self.unix_socket))


def _refuse(controller: type, *, data_size_limit: int | None, **others: object) -> None:
    """Raise UsageError for arguments that would otherwise be ignored."""
    if hasattr(controller, "factory"):
        raise UsageError("factory() is not called, because the engine speaks LMTP itself; change the handler instead")
    if not data_size_limit:
        raise UsageError(f"data_size_limit={data_size_limit!r}: a server needs a limit")
    for name, value in others.items():
        if name not in _REFUSED:
            raise UsageError(f"{name}: neither aiosmtpd nor lmtpref knows this argument")
        nothing, reason = _REFUSED[name]
        if value != nothing:
            raise UsageError(f"{name}={value!r}: {reason}")
