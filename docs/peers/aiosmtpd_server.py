"""aiosmtpd's LMTP as a peer: aiosmtpd_server.py PORT each|once."""

from __future__ import annotations

import asyncio
import sys

from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import SMTP, Envelope, Session

MAILBOXES = {"ant@lists.example", "bee@lists.example", "cat@lists.example"}


class Three:
    """A handler with three mailboxes, whose answer after a message is one, or one for each recipient."""

    def __init__(self, *, for_each: bool) -> None:
        self._for_each = for_each

    async def handle_RCPT(self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]) -> str:  # noqa: N802 - aiosmtpd's name
        """Accept a mailbox that there is."""
        if address.lower() not in MAILBOXES:
            return "550 5.1.1 No such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        """Accept every message."""
        return "\r\n".join(["250 2.0.0 Ok"] * (len(envelope.rcpt_tos) if self._for_each else 1))


async def _serve(port: int, *, for_each: bool) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: LMTP(Three(for_each=for_each), loop=loop), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), for_each=sys.argv[2] == "each"))
