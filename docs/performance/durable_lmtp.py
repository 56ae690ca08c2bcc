"""lmtpref on uvloop, its queues as they are to be measured: durable_lmtp.py URL|alone:DIR CONFIG HELD PORT.

`alone:` is a spool without group commit: every entry is a batch of its own.
HELD is the URL that `amqp:` needs.  At its end it says what it holds, and the
longest time between two beats of its event loop since SIGUSR1.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import uvloop

from lmtpref import MaildirQueues, Server
from lmtpref.cli.serve import SWITCH_SECONDS
from lmtpref.config import load
from lmtpref.lists import QueueOptions, Queues, open_queues

HEARTBEAT_SECONDS = 0.005


class Heart:
    """Measures the longest pause of the event loop, in seconds: the time between two beats.

    `own` is the longest without what the kernel let the loop wait for a processor, on which others were.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Reset the longest time."""
        self.longest = self.own = 0.0

    async def beat(self) -> None:
        """Go on until cancelled.  The clock is read afresh, because a loop's own may stand still while it is busy."""
        last, waited = time.perf_counter(), waited_seconds()
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            since, last = last, time.perf_counter()
            before, waited = waited, waited_seconds()
            self.longest = max(self.longest, last - since)
            self.own = max(self.own, last - since - (waited - before))


def waited_seconds() -> float:
    """How long this thread has been ready to run, and was not running (proc(5), `schedstat`, field 2)."""
    return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9


async def serve(server: Server[Queues], heart: Heart) -> None:
    """Serve until SIGTERM."""
    stopped, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    loop.add_signal_handler(signal.SIGUSR1, heart.forget)
    async with server:
        beating = asyncio.create_task(heart.beat())
        await stopped.wait()
        beating.cancel()
        with suppress(asyncio.CancelledError):
            await beating


def main(url: str, configuration: str, held: str, port: str) -> None:
    """Serve, and print the results."""
    sys.setswitchinterval(SWITCH_SECONDS)  # as `lmtpref serve` does
    alone = url.removeprefix("alone:")
    options = QueueOptions(held=held) if url.startswith("amqp") else QueueOptions()
    queues = MaildirQueues(Path(alone), max_batch=1) if alone != url else open_queues(url, options)
    server = Server(load(configuration).handler(queues), queues=queues, listen=f"127.0.0.1:{port}")
    heart = Heart()
    uvloop.run(serve(server, heart))
    asyncio.run(queues.aclose())
    print("queued: " + ", ".join(f"{name} {count}" for name, count in asyncio.run(queues.counts()).items()))
    print(f"longest {heart.longest * 1000:.0f} ms; own {heart.own * 1000:.0f} ms")


if __name__ == "__main__":
    main(*sys.argv[1:])
