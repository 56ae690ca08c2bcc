"""Pick-up process for virtual(8)'s Maildir: ask the rules, and keep the messages in a spool.

delivery_pickup.py CONFIG SPOOL MAILDIR SECONDS: it waits SECONDS between two looks.  A rejected message is put
into `cur`: Postfix has delivered it, and the sender has gone.
"""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

from delivery_pipe import offer

from lmtpref.config import load
from lmtpref.lists import ListHandler, MaildirQueues
from lmtpref.protocol.replies import Reply

_ADDED = re.compile(rb"Return-Path: <(.*)>\n(?:X-Original-To: .*\n)?Delivered-To: (.*)\n")  # by virtual(8), above all else


async def take(handler: ListHandler, file: Path) -> None:
    """Offer one message, and put it away."""
    put_away(file, await offer(handler, *contents(file)))


def contents(file: Path) -> tuple[str, str, bytes]:
    """The sender, the recipient and the message.  Raises ValueError for a file that virtual(8) has not written."""
    message = file.read_bytes()
    if not (added := _ADDED.match(message)):
        raise ValueError(f"{file}: not from virtual(8)")
    return added[1].decode(), added[2].decode(), message


def put_away(file: Path, reply: Reply | None) -> None:
    """Out of `new` it goes, unless the answer was to come again."""
    if reply is None:
        file.unlink()
    elif reply.code >= 500:
        file.rename(file.parents[1] / "cur" / file.name)


async def pick_up(handler: ListHandler, maildir: Path, seconds: float) -> None:
    """Take all that there is, together, so that they may share a sync; again and again."""
    while True:
        if (maildir / "new").is_dir():  # virtual(8) makes it
            await asyncio.gather(*(take(handler, file) for file in sorted((maildir / "new").iterdir())))
        await asyncio.sleep(seconds)


def main(configuration: str, spool: str, maildir: str, seconds: str) -> None:
    """Go on until killed."""
    with MaildirQueues(spool) as queues:
        print("looking", flush=True)
        asyncio.run(pick_up(load(configuration).handler(queues), Path(maildir), float(seconds)))


if __name__ == "__main__":
    main(*sys.argv[1:])
