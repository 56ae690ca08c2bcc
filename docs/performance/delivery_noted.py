"""`lmtpref serve` with other queues than a spool, that notes when each entry was kept.  delivery_noted.py CONFIG PORT FILE URL.

URL names the queues.  The times, in seconds since 1970, are written to FILE as JSON at SIGTERM.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import Awaitable, Mapping
from pathlib import Path

from lmtpref import Server
from lmtpref.config import load
from lmtpref.lists import Entry, Queues, open_queues
from lmtpref.net.engine import loop_factory


class Noted:
    """Queues, and the times at which each entry was kept in them."""

    def __init__(self, queues: Queues) -> None:
        self._queues = queues
        self.times: list[float] = []

    @property
    def max_message_octets(self) -> int | None:
        """The limit of the queues."""
        return self._queues.max_message_octets

    def put(self, entry: Entry) -> Awaitable[None] | None:
        """Keep `entry`, and note it when it is kept."""
        kept = self._queues.put(entry)
        if isinstance(kept, asyncio.Future):
            kept.add_done_callback(lambda _: self.times.append(time.time()))
        else:
            self.times.append(time.time())
        return kept

    async def open(self) -> None:
        """Open the queues."""
        await self._queues.open()

    async def counts(self) -> Mapping[str, int]:
        """Return the number of entries in the queues."""
        return await self._queues.counts()

    async def aclose(self) -> bool:
        """Close the queues."""
        return await self._queues.aclose()


async def serve(server: Server[Queues]) -> None:
    """Serve until SIGTERM."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with server:
        print("listening", flush=True)
        await stopped.wait()


def main(configuration: str, port: str, file: str, url: str) -> None:
    """Serve, and write the notes."""
    queues = Noted(open_queues(url))
    loaded = load(configuration)
    server: Server[Queues] = Server(loaded.handler(queues), queues=queues, settings=loaded.settings, listen=f"127.0.0.1:{port}")
    with asyncio.Runner(loop_factory=loop_factory("auto")) as runner:
        runner.run(serve(server))
        kept = sum(runner.run(queues.counts()).values())
        runner.run(queues.aclose())
    if kept != len(queues.times):
        sys.exit(f"{len(queues.times)} entries were noted, and {kept} are kept")
    Path(file).write_text(json.dumps(queues.times))


if __name__ == "__main__":
    main(*sys.argv[1:])
