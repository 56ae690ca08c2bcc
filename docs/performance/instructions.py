"""Instructions a message of the session and the lists' handler, without a socket: instructions.py LOAD MESSAGES takes so many.

valgrind's callgrind counts them, which other work on the machine does not change.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator

from various_source import message, various_lists

from lmtpref import ListHandler, MailingList, MemoryDirectory, MemoryQueues, Peer, Settings
from lmtpref.protocol.session import Session

# The message, and the numbers of messages whose difference is counted, so that the start of the interpreter does not count.
VARIOUS = "1 KiB, many senders and lists"
LOADS = {"1 KiB": (60, 160), "50 recipients a message": (6, 16), VARIOUS: (60, 160)}


def counted() -> dict[str, int]:
    """Return the instructions a message under each load; empty without valgrind."""
    if not shutil.which("valgrind"):
        return {}
    return {load: (_instructions(load, most) - _instructions(load, fewest)) // (most - fewest) for load, (fewest, most) in LOADS.items()}


def _instructions(load: str, messages: int) -> int:
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", sys.executable, __file__, load, str(messages)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONHASHSEED": "0"})
    return int(re.findall(r"Collected : (\d+)", done.stderr)[0])


def commands(load: str, number: int) -> Iterator[bytes]:
    """Yield the client's octets for message `number`, one piece a read, as smtp-source sends them."""
    if load == VARIOUS:
        yield from message(number)
        return
    yield b"MAIL FROM:<anne@home.test>\r\n"
    for name in [f"{n}ant" for n in range(1, 51)] if "50" in load else ["ant"]:
        yield f"RCPT TO:<{name}@lists.example>\r\n".encode()
    yield b"DATA\r\n"
    header = b"From: <anne@home.test>\r\nTo: <ant@lists.example>\r\nDate: Fri, 20 Nov 2026 12:20:26 +0000 (UTC)\r\n"
    header += b"Message-Id: <17b2.0003.0000@mta.example>\r\n\r\n"
    yield header + (b"X" * 76 + b"\r\n") * ((1024 - len(header)) // 78) + b".\r\n"


def mailing_lists(load: str) -> Iterator[MailingList]:
    """Yield the lists to which the load posts."""
    if load == VARIOUS:
        for name, members in various_lists().items():
            yield MailingList(f"{name}@lists.example", members=members, subaddresses=True)
        return
    for name in ("ant", *(f"{n}ant" for n in range(1, 51))):
        yield MailingList(f"{name}@lists.example", members=["anne@home.test"])


def take(load: str, messages: int) -> int:
    """Let a session receive this number of messages, which the lists accept; return the number of replies."""
    handler = ListHandler(MemoryDirectory(mailing_lists(load)), MemoryQueues())
    session, replies = Session(Settings(), Peer("127.0.0.1"), handler), 0
    connected = session.turn()
    assert connected is not None
    session.answer()
    session.take()
    for piece in (b"LHLO mta.example\r\n", *(piece for number in range(messages) for piece in commands(load, number))):
        event = session.turn(piece)
        assert event is None, event
        replies += session.take().count(b"250 2.0.0 <")
    return replies


if __name__ == "__main__":
    print(take(sys.argv[1], int(sys.argv[2])))
