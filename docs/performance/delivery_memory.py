"""`lmtpref serve` with its queues in memory, that notes when each entry was kept.  delivery_memory.py CONFIG PORT FILE.

The times, in seconds since 1970, are written to FILE as JSON at SIGTERM.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from pathlib import Path

from lmtpref import MemoryQueues, Server
from lmtpref.config import load
from lmtpref.lists import Entry
from lmtpref.net.engine import loop_factory


class Noted(MemoryQueues):
    """Queues in memory, and the times at which something was put there."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def put(self, entry: Entry) -> None:
        """Keep `entry`, and note it."""
        super().put(entry)
        self.times.append(time.time())


async def serve(server: Server) -> None:
    """Serve until SIGTERM."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with server:
        print("listening", flush=True)
        await stopped.wait()


def main(configuration: str, port: str, file: str) -> None:
    """Serve, and write what was noted."""
    queues = Noted()
    loaded = load(configuration)
    server = Server(loaded.handler(queues), queues=queues, settings=loaded.settings, listen=f"127.0.0.1:{port}")
    with asyncio.Runner(loop_factory=loop_factory("auto")) as runner:
        runner.run(serve(server))
    Path(file).write_text(json.dumps(queues.times))


if __name__ == "__main__":
    main(*sys.argv[1:])
