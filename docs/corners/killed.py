"""A server that is killed at random moments while clients send, and what its spool then holds.

`killed.py [ROUNDS [SEED]]` plays so many rounds and says what it found.
"""

from __future__ import annotations

import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from contextlib import suppress
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
        with serving(self.spool) as (process, port):
            clients = [threading.Thread(target=self._send, args=(port, f"{self.kills}.{number}")) for number in range(CLIENTS)]
            for client in clients:
                client.start()
            threading.Event().wait(self.chance.uniform(0, LONGEST_LIFE_SECONDS))
            process.kill()
            for client in clients:
                client.join()
        self.kills += 1

    def finish(self) -> None:
        """Send again, to a server that lives, what was not answered."""
        with serving(self.spool) as (process, port):
            for message_id in sorted({message_id for message_id, _ in self.unanswered - self.accepted}):
                with Client(port) as client:
                    self._attempt(client, message_id)
            process.send_signal(signal.SIGTERM)

    def verdict(self) -> list[str]:
        """What is wrong with what the spool holds; nothing is."""
        found: Counter[Copy] = Counter()
        wrong = []
        for entry in Spool(self.spool)["in"]:
            copy = entry.msg["Message-ID"], entry.forward_path
            found[copy] += 1
            if entry.content != content_of(copy[0]):
                wrong.append(f"{copy}: not whole")
        wrong += [f"{copy}: accepted {count} times, {found[copy]} here" for copy, count in self.accepted.items() if found[copy] < count]
        wrong += [f"{copy}: {count} here, of {self.attempts[copy]} attempts" for copy, count in found.items() if count > self.attempts[copy]]
        explained = self.accepted + self.unanswered
        wrong += [f"{copy}: {count} here, {explained[copy]} explained" for copy, count in found.items() if count > explained[copy]]
        return wrong

    def _send(self, port: int, name: str) -> None:
        """Send messages until the server is gone; the last may be one that it knew already."""
        again = sorted({message_id for message_id, _ in self.unanswered - self.accepted if message_id.partition(".")[2].startswith(name[-1])})
        with suppress(ConnectionError), Client(port) as client:
            for message_id in again:
                self._attempt(client, message_id)
            for number in range(1_000_000):
                self._attempt(client, f"<{name}.{number}@mta.example>")

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

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._replies.close()
        self._socket.close()


class serving:  # noqa: N801 - a context manager
    """A real `lmtpref serve` on a spool: its process, and its port."""

    def __init__(self, spool: Path) -> None:
        command = [sys.executable, "-m", "lmtpref.tools.cli", "serve", "--listen", "127.0.0.1:0", "--spool", str(spool)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def __enter__(self) -> tuple[subprocess.Popen[str], int]:
        assert self._process.stdout
        return self._process, int(self._process.stdout.readline().rpartition(":")[2])

    def __exit__(self, failed: object, *_: object) -> None:
        if failed:
            self._process.kill()
        self._process.communicate(timeout=60)


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
