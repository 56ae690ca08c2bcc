"""A load of many senders: various_source.py PORT CONNECTIONS MESSAGES sends that many messages of 1 KiB, and ends.

As smtp-source does, it does not pipeline, and sends the content in one piece.  Each message has another sender, with a detail that no
other message has, and another list than the one before; so answers and lines that a server remembers help it little.
"""

from __future__ import annotations

import selectors
import socket
import sys
from collections.abc import Iterator

LISTS, SENDERS = 1_000, 10_000
OCTETS = 1024


def list_of(sender: int) -> int:
    """Return the number of the list to which a sender posts, and of which it is a member."""
    return sender * 7 % LISTS


def various_lists() -> dict[str, list[str]]:
    """Return the names of the lists, each with its members."""
    members: dict[str, list[str]] = {f"list{number}": [] for number in range(LISTS)}
    for sender in range(SENDERS):
        members[f"list{list_of(sender)}"].append(f"sender{sender}@home.test")
    return members


def message(number: int) -> Iterator[bytes]:
    """Yield the client's octets for message `number`, one piece a reply."""
    sender = number % SENDERS
    yield f"MAIL FROM:<sender{sender}+{number}@home.test>\r\n".encode()
    yield f"RCPT TO:<list{list_of(sender)}@lists.example>\r\n".encode()
    yield b"DATA\r\n"
    header = f"From: <sender{sender}+{number}@home.test>\r\nMessage-Id: <{number}@mta.example>\r\n\r\n".encode()
    yield header + (b"X" * 76 + b"\r\n") * ((OCTETS - len(header)) // 78) + b".\r\n"


def conversation(numbers: Iterator[int]) -> Iterator[bytes]:
    """Yield the octets of one connection, while there are messages left."""
    yield b"LHLO mta.example\r\n"
    for number in numbers:
        yield from message(number)


def is_whole(reply: bytes | bytearray) -> bool:
    """Return whether the last line of a reply has come."""
    return reply.endswith(b"\r\n") and reply[reply.rfind(b"\n", 0, -2) + 4 :][:1] == b" "


def main(port: int, connections: int, messages: int) -> None:
    """Send; each connection takes the next message when the reply to its last one has come."""
    numbers, waiting = iter(range(messages)), selectors.DefaultSelector()
    clients = {}
    for _ in range(connections):
        client = socket.create_connection(("127.0.0.1", port))
        clients[waiting.register(client, selectors.EVENT_READ).fd] = client, conversation(numbers), bytearray()
    while waiting.get_map():
        for key, _ in waiting.select():
            client, pieces, reply = clients[key.fd]
            reply += client.recv(65_536)
            if not is_whole(reply):
                continue
            if not reply.startswith((b"2", b"354")):
                sys.exit(f"unexpected reply: {bytes(reply)!r}")
            reply.clear()
            if piece := next(pieces, None):
                client.sendall(piece)
            else:
                waiting.unregister(client)
                client.close()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
