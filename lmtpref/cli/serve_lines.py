"""Lines printed by `lmtpref serve`: its addresses, and at the end the contents of the queues."""

from __future__ import annotations

from collections.abc import Iterable

from lmtpref.cli.terminal import report
from lmtpref.lists import Queues


def announce(addresses: Iterable[str], *, in_memory: bool) -> None:
    """Print a line for each address."""
    if in_memory:
        report("messages are kept in memory and are lost when this process ends")
    for address in addresses:
        print(f"listening on {address}", flush=True)


async def print_summary(queues: Queues) -> None:
    """Print the number of entries in each queue."""
    try:
        held = await queues.counts()
    except OSError as error:
        print(f"queued: unknown: {error}", flush=True)
    else:
        print("queued: " + ", ".join(f"{name} {count}" for name, count in held.items()), flush=True)
