"""Servers, faults and fixtures for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmtpref.lazy import lazy_names

if TYPE_CHECKING:
    from lmtpref.net.socket_wire import SocketWire as SocketWire
    from lmtpref.protocol.errors import NotArrivedError as NotArrivedError
    from lmtpref.testing.faults import Fault as Fault
    from lmtpref.testing.recorder import Message as Message
    from lmtpref.testing.replay import ScriptServer as ScriptServer
    from lmtpref.testing.replay import serve_script as serve_script
    from lmtpref.testing.server import LmtpServer as LmtpServer
    from lmtpref.testing.server import ServerAddress as ServerAddress
    from lmtpref.testing.server import play_script as play_script

# Each name and its module, which is imported at the first use of the name, because pytest imports this package in every run.
_HOMES = {
    "LmtpServer": "testing.server",
    "Fault": "testing.faults",
    "Message": "testing.recorder",
    "NotArrivedError": "protocol.errors",
    "play_script": "testing.server",
    "ServerAddress": "testing.server",
    "ScriptServer": "testing.replay",
    "serve_script": "testing.replay",
    "SocketWire": "net.socket_wire",
}

__all__ = list(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
