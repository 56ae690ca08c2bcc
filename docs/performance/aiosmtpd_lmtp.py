"""aiosmtpd's LMTP as a server under test: aiosmtpd_lmtp.py asyncio|uvloop PORT.

The handler is as small as one can be that keeps every message for every recipient, and, as aiosmtpd leaves that to
its handlers, answers once for each of them.  It asks no list and checks nothing.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import SMTP, Envelope, Session

Entry = tuple[str | None, str, bytes | str | None]


class Keep:
    """Keeps every message in memory."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        """Yes, for each recipient."""
        self.entries += [(envelope.mail_from, recipient, envelope.content) for recipient in envelope.rcpt_tos]
        return "\r\n".join(["250 2.0.0 OK"] * len(envelope.rcpt_tos))


async def serve(port: int) -> int:
    """Serve until SIGTERM: how many entries were kept."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    handler = Keep()
    # Given a host name, aiosmtpd does not look up this machine's own at every connection.
    await loop.create_server(lambda: LMTP(handler, hostname="lists.example", loop=loop), "127.0.0.1", port, backlog=1000)
    await stopped.wait()
    return len(handler.entries)


def runner(loop: str) -> Callable[[Coroutine[Any, Any, int]], int]:
    """Return the function that runs a coroutine on asyncio's loop or on uvloop's."""
    if loop == "asyncio":
        return asyncio.run
    import uvloop  # noqa: PLC0415 - only one of the two contenders has it loaded

    return uvloop.run


if __name__ == "__main__":
    kept = runner(sys.argv[1])(serve(int(sys.argv[2])))
    print(f"kept {kept}")
