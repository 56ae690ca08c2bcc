"""A server that is killed at random moments while clients send, and what its spool then holds.

`killed.py [ROUNDS [SEED]]` plays so many rounds and says what it found.
"""

from __future__ import annotations

import itertools
import random
import socket
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from lmtpref.lists import Spool

CLIENTS = 3
RECIPIENTS = ("ant@lists.example", "cat@lists.example")  # Anne is a member of both
LONGEST_LIFE_SECONDS = 0.4  # of a server under load
ENVELOPE = "MAIL FROM:<anne@home.test>\r\n" + "".join(f"RCPT TO:<{recipient}>\r\n" for recipient in RECIPIENTS) + "DATA\r\n"

Copy = tuple[str, str]  # a Message-ID and a recipient


def content_of(message_id: str) -> bytes:
    """The message of that name: a few lines or many, and no other message has the same."""
    lines = random.Random(message_id).choice([1, 20, 400])  # noqa: S311 - no secret
    return f"Message-ID: {message_id}\r\n\r\n".encode() + f"This is a line of {message_id}.\r\n".encode() * lines


@dataclass
class Trial:
    """What clients sent to one spool, and what they were told, over all the rounds."""

    spool: Path
    chance: random.Random
    attempts: Counter[Copy] = field(default_factory=Counter)
    accepted: Counter[Copy] = field(default_factory=Counter)
    unanswered: Counter[Copy] = field(default_factory=Counter)  # attempts whose reply never came
    kills: int = 0

    def round(self) -> None:
        """Start a server, let clients send to it, and kill it."""
        unsettled = self.unsettled()
        with serving(self.spool) as (process, port):
            clients = [threading.Thread(target=self._send, args=(port, number, unsettled[number::CLIENTS])) for number in range(CLIENTS)]
            for client in clients:
                client.start()
            threading.Event().wait(self.chance.uniform(0, LONGEST_LIFE_SECONDS))
            process.kill()
            for client in clients:
                client.join()
        self.kills += 1

    def finish(self) -> None:
        """Send again, to a server that lives, what was not answered; and a few more, so that there are some that were sent once."""
        with serving(self.spool) as (_, port):
            self._converse(port, [*self.unsettled(), *(f"<last.{count}@mta.example>" for count in range(CLIENTS))])

    def verdict(self) -> list[str]:
        """What is wrong with what the spool holds; nothing is."""
        wrong = []
        found: Counter[Copy] = Counter()
        for entry in Spool(self.spool)["in"]:
            copy = entry.msg["Message-ID"], entry.forward_path
            found[copy] += 1
            if entry.content != content_of(copy[0]):
                wrong.append(f"{copy}: not whole")
        for copy in found | self.accepted:
            least, most = self.accepted[copy], min(self.attempts[copy], self.accepted[copy] + self.unanswered[copy])
            if not least <= found[copy] <= most:
                wrong.append(f"{copy}: {found[copy]} here, not {least} to {most}")
        return wrong

    def unsettled(self) -> list[str]:
        """The messages that were not answered 250 for each recipient."""
        return sorted({message_id for message_id, _ in self.unanswered if not all(self.accepted[message_id, path] for path in RECIPIENTS)})

    def _send(self, port: int, number: int, again: Iterable[str]) -> None:
        """Send what is given, and then new messages, until the server is gone."""
        new = (f"<{self.kills}.{number}.{count}@mta.example>" for count in itertools.count())
        with suppress(ConnectionError):
            self._converse(port, itertools.chain(again, new))

    def _converse(self, port: int, message_ids: Iterable[str]) -> None:
        with closing(Client(port)) as client:
            client.greet()
            for message_id in message_ids:
                self._attempt(client, message_id)

    def _attempt(self, client: Client, message_id: str) -> None:
        copies = [(message_id, recipient) for recipient in RECIPIENTS]
        self.attempts.update(copies)
        unanswered = list(copies)
        try:
            client.begin()
            client.send(content_of(message_id) + b".\r\n")
            for copy in copies:
                client.expect("250")
                unanswered.remove(copy)
                self.accepted[copy] += 1
        finally:
            self.unanswered.update(unanswered)


class Client:
    """A client that sends as Postfix does, the envelope in one write."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._replies = self._socket.makefile("rb")

    def greet(self) -> None:
        """Hear the greeting, and say LHLO."""
        self.expect("220")
        self.send(b"LHLO mta.example\r\n")
        self.expect("250")

    def begin(self) -> None:
        """Send the envelope, and wait until the message may come."""
        self.send(ENVELOPE.encode())
        for code in ["250", *["250" for _ in RECIPIENTS], "354"]:
            self.expect(code)

    def send(self, octets: bytes) -> None:
        """Send `octets`."""
        self._socket.sendall(octets)

    def expect(self, code: str) -> None:
        """Read a reply.  Raises ConnectionError if there is none, AssertionError if it is another."""
        line = b"250-"
        while line[3:4] == b"-":
            line = self._replies.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionResetError
        assert line.startswith(code.encode()), line

    def close(self) -> None:
        """Hang up."""
        self._replies.close()
        self._socket.close()


@contextmanager
def serving(spool: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A real `lmtpref serve` on a spool: its process, which is ended one way or another, and its port."""
    command = [sys.executable, "-m", "lmtpref.cli.main", "serve", "--listen", "127.0.0.1:0", "--spool", str(spool)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout
        yield process, int(process.stdout.readline().rpartition(":")[2])
        process.terminate()
        process.wait(60)


def main(rounds: int, seed: int) -> int:
    """Play `rounds`, and say what came of it."""
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(Path(folder) / "spool", random.Random(seed))  # noqa: S311 - no secret
        for _ in range(rounds):
            trial.round()
        trial.finish()
        wrong = trial.verdict()
        counts = {name: sum(getattr(trial, name).values()) for name in ("attempts", "accepted", "unanswered")}
        print(f"killed {trial.kills} times; {counts}; wrong: {len(wrong)}", *wrong, sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*(int(word) for word in [*sys.argv[1:], *["20", "1"][len(sys.argv) - 1 :]])))
