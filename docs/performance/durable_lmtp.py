"""lmtpref on uvloop, its queues as they are to be measured: durable_lmtp.py memory|spool|alone CONFIG SPOOL PORT.

`alone` is a spool without group commit: every entry is a batch of its own.  At its end it says what it holds, and by how
much its event loop was ever late.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import suppress
from pathlib import Path

import uvloop

from lmtpref import MaildirQueues, MemoryQueues, Server
from lmtpref.lists import load
from lmtpref.lists.spool_commit import MAX_BATCH_ENTRIES

HEARTBEAT_SECONDS = 0.005


class Heart:
    """Beats, and remembers the longest that a beat was late, in seconds."""

    def __init__(self) -> None:
        self.latest = 0.0

    async def beat(self) -> None:
        """Go on until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + HEARTBEAT_SECONDS
            await asyncio.sleep(HEARTBEAT_SECONDS)
            self.latest = max(self.latest, loop.time() - due)


async def serve(server: Server, heart: Heart) -> None:
    """Serve until SIGTERM."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with server:
        beating = asyncio.create_task(heart.beat())
        await stopped.wait()
        beating.cancel()
        with suppress(asyncio.CancelledError):
            await beating


def main(mode: str, configuration: str, spool: str, port: str) -> None:
    """Serve, and say what came of it."""
    queues = MemoryQueues() if mode == "memory" else MaildirQueues(Path(spool), max_batch=1 if mode == "alone" else MAX_BATCH_ENTRIES)
    server = Server(load(configuration).handler(queues), queues=queues, listen=f"127.0.0.1:{port}")
    heart = Heart()
    uvloop.run(serve(server, heart))
    queues.close()
    print("queued: " + ", ".join(f"{name} {len(queue)}" for name, queue in queues.items()))
    print(f"late by {heart.latest * 1000:.0f} ms")


if __name__ == "__main__":
    main(*sys.argv[1:])
