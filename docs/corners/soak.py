"""A soak test: many connections, very many messages, and the server's memory over time.

`soak.py [CONNECTIONS [MESSAGES]]` starts a server in a process of its own, and prints what that had resident as it went on.
"""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

SENDERS = 20  # of the connections that are held, those that send; the others are idle
BATCH = 10  # messages that go out in one write
STEPS = 10  # how often the memory is looked at
MAIL = b"MAIL FROM:<anne@home.test>\r\nRCPT TO:<ant@lists.example>\r\nRCPT TO:<cat@lists.example>\r\nDATA\r\n"
CONTENT = b"From: anne@home.test\r\nMessage-ID: <%d@mta.example>\r\n\r\n" + b"This is a line of the message.\r\n" * 30 + b".\r\n"

SERVER = """
import asyncio, sys
from lmtpref import MemoryQueues, Server
from lmtpref.config import cast
from lmtpref.net.engine import loop_factory

class Emptied(MemoryQueues):
    def put(self, entry):
        super().put(entry)
        if len(self["in"]) >= 1000:
            self["in"].take()

async def main():
    queues = Emptied()
    async with Server(cast().handler(queues), queues=queues) as server:
        print(server.port, flush=True)
        await asyncio.to_thread(sys.stdin.read)

with asyncio.Runner(loop_factory=loop_factory("auto")) as runner:
    runner.run(main())
"""


@dataclass
class Figures:
    """The measured resident octets: before the first connection, with all connections, at each step, and after the last."""

    connections: int
    messages: int
    idle: int = 0
    held: int = 0
    steps: list[int] = field(default_factory=list)
    after: int = 0
    seconds: float = 0.0

    @property
    def growth(self) -> int:
        """Return the growth over the second half of the steps, in octets."""
        return self.steps[-1] - self.steps[len(self.steps) // 2]

    def __str__(self) -> str:
        mib = [f"{octets / 2**20:.1f}" for octets in (self.idle, self.held, *self.steps, self.after)]
        cost = (self.held - self.idle) // max(1, self.connections)
        return (
            f"{self.connections:,} connections held, {cost:,} octets each; {self.messages:,} messages in {self.seconds:.0f} s\n"
            f"MiB resident: {mib[0]} at first, {mib[1]} with all connections; then {', '.join(mib[2:-1])}; {mib[-1]} when they had gone"
        )


@contextmanager
def serving() -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run a server with lists and emptied queues in its own process; yield the process and the port."""
    with subprocess.Popen([sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield process, int(process.stdout.readline())
        process.terminate()


def resident(process: subprocess.Popen[str]) -> int:
    """Return the resident octets of a process (Linux)."""
    with Path(f"/proc/{process.pid}/statm").open() as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")


async def soak(connections: int, messages: int) -> Figures:
    """Hold open the given number of connections, and send the messages over some of them."""
    figures = Figures(connections, messages)
    with serving() as (process, port):
        figures.idle = resident(process)
        held = [await dial(port) for _ in range(connections)]
        figures.held = resident(process)
        begun = time.monotonic()
        senders = held[:SENDERS]
        for _ in range(STEPS):
            try:
                await asyncio.gather(*(send(reader, writer, messages // STEPS // len(senders)) for reader, writer in senders))
            except (AssertionError, ConnectionError) as error:
                raise AssertionError(f"{error}; exit code of the server: {process.poll()}") from error
            figures.steps.append(resident(process))
        figures.seconds = time.monotonic() - begun
        for _, writer in held:
            writer.close()
        await asyncio.sleep(1)
        figures.after = resident(process)
    return figures


async def dial(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return a connection after LHLO and its whole reply."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"LHLO mta.example\r\n")
    while not (await reader.readline()).startswith(b"250 "):
        pass
    return reader, writer


async def send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, messages: int) -> None:
    """Send the given number of messages.  Raises AssertionError if a recipient's final reply is not 250."""
    for begin in range(0, messages, BATCH):
        count = min(BATCH, messages - begin)
        writer.write(b"".join(MAIL + CONTENT % (begin + number) for number in range(count)))
        for _ in range(count):
            said = [await reader.readline() for _ in range(6)]
            assert [line[:3] for line in said] == [b"250", b"250", b"250", b"354", b"250", b"250"], said


def main(arguments: list[str]) -> int:
    """Run the soak and print the figures."""
    connections, messages = (int(word) for word in [*arguments, *["10000", "1000000"][len(arguments) :]])
    enough, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if connections + 100 > enough:
        print(f"{connections:,} connections need more than the {enough:,} files that a process may open here (ulimit -n)")
        return 2
    print(asyncio.run(soak(connections, messages)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
