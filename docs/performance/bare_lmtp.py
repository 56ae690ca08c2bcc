"""The least that smtp-source takes for an LMTP server, on uvloop: bare_lmtp.py PORT.

It reads no address, checks nothing and keeps nothing: what it costs is the kernel's and the event loop's.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import uvloop


class Bare(asyncio.Protocol):
    """Answers every command with the reply that smtp-source waits for."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        self._transport = cast(asyncio.Transport, transport)
        self._recipients = 0
        self._in_data = False
        self._transport.write(b"220 bare\r\n")

    def data_received(self, data: bytes) -> None:
        """One write of smtp-source is one command; the end of the last one of a message is its end."""
        if self._in_data:
            if data.endswith(b"\r\n.\r\n"):
                self._in_data = False
                self._transport.write(b"250 2.0.0 Ok\r\n" * self._recipients)
                self._recipients = 0
            return
        verb = data[:4]
        self._in_data = verb == b"DATA"
        self._recipients += verb == b"RCPT"
        self._transport.write(b"354 Go\r\n" if self._in_data else b"250 2.0.0 Ok\r\n")
        if verb == b"QUIT":
            self._transport.close()


async def serve(port: int) -> None:
    """Serve until SIGTERM ends the process."""
    server = await asyncio.get_running_loop().create_server(Bare, "127.0.0.1", port, backlog=1000)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
