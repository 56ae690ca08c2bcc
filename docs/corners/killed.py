"""A server, its engine, or both, killed at random moments while clients send; and a check of the queues afterwards.

`killed.py [ROUNDS [SEED [ENGINE...]]]` plays so many rounds on each engine and says what it found; the engines are
spool, sqlite, postgresql and rabbitmq.
"""

from __future__ import annotations

import itertools
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

sys.path.append(str(Path(__file__).resolve().parents[1] / "use"))

import private_engines  # found by the line above

from lmtpref.lists import Entry, consume, open_store
from lmtpref.lists.queues.interface import MAX_PREFETCH

CLIENTS = 3
RECIPIENTS = ("ant@lists.example", "bee@lists.example", "cat@lists.example")  # Anne may post to all
LONGEST_LIFE_SECONDS = 0.4  # of a server under load
ENVELOPE = "MAIL FROM:<anne@home.test>\r\n" + "".join(f"RCPT TO:<{recipient}>\r\n" for recipient in RECIPIENTS) + "DATA\r\n"

Copy = tuple[str, str]  # a Message-ID and a recipient


def content_of(message_id: str) -> bytes:
    """Return the message of that name, which has a few lines or many, and differs from every other."""
    lines = random.Random(message_id).choice([1, 20, 400])  # noqa: S311 - no secret
    received = f"Received: by mta.example id {message_id.strip('<>')}; Sat, 28 Nov 2026 12:00:00 +0000\r\n"
    return f"{received}Message-ID: {message_id}\r\n\r\n".encode() + f"This is a line of {message_id}.\r\n".encode() * lines


class Killable(Protocol):
    """The engine of the queues, if it is a separate process."""

    def signal(self, number: int) -> None:
        """Send a signal to all its processes."""

    def start(self) -> None:
        """Start it again."""


@dataclass
class Trial:
    """The messages that clients sent to the queues at `url`, and the replies, over all rounds.

    `engine` is killed too, if there is one: the server alone, the engine alone, or both, in turn.
    """

    url: str
    chance: random.Random
    engine: Killable | None = None
    held: str | None = None
    attempts: Counter[Copy] = field(default_factory=Counter)
    accepted: Counter[Copy] = field(default_factory=Counter)
    unanswered: Counter[Copy] = field(default_factory=Counter)  # attempts whose reply never came
    kills: int = 0

    def round(self) -> None:
        """Start a server, let clients send to it, and kill it, or the engine, or both."""
        unsettled = self.unsettled()
        victims = ("server", "engine", "both")[self.kills % 3] if self.engine else "server"
        with serving(self.url, self.held) as (process, port):
            clients = [threading.Thread(target=self._send, args=(port, number, unsettled[number::CLIENTS])) for number in range(CLIENTS)]
            for client in clients:
                client.start()
            threading.Event().wait(self.chance.uniform(0, LONGEST_LIFE_SECONDS))
            if self.engine and victims != "server":
                self.engine.signal(signal.SIGKILL)
            process.kill() if victims != "engine" else process.terminate()
            for client in clients:
                client.join()
        if self.engine and victims != "server":
            self.engine.start()
        self.kills += 1

    def finish(self) -> None:
        """Send the unanswered messages again to a running server, and a few new ones that are sent only once."""
        with serving(self.url, self.held) as (_, port):
            self._converse(port, [*self.unsettled(), *(f"<last.{count}@mta.example>" for count in range(CLIENTS))])

    def verdict(self) -> list[str]:
        """Return the differences between the queue and the acknowledged messages; there should be none."""
        wrong = []
        found: Counter[Copy] = Counter()
        for entry in entries(self.url):
            copy = entry.msg["Message-ID"], entry.forward_path
            found[copy] += 1
            if entry.content != content_of(copy[0]):
                wrong.append(f"{copy}: not whole")
        for copy in found | self.accepted:
            least, most = self.accepted[copy], min(self.attempts[copy], self.accepted[copy] + self.unanswered[copy])
            if "sql" in self.url:  # each message has a Received field, so an attempt that is repeated is a duplicate
                least, most = min(least, 1), min(most, 1)
            if not least <= found[copy] <= most:
                wrong.append(f"{copy}: {found[copy]} here, not {least} to {most}")
        return wrong

    def unsettled(self) -> list[str]:
        """Return the messages that were not answered 250 for each recipient."""
        return sorted({message_id for message_id, _ in self.unanswered if not all(self.accepted[message_id, path] for path in RECIPIENTS)})

    def _send(self, port: int, number: int, again: Iterable[str]) -> None:
        """Send the given messages, then new ones, until the server is gone."""
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
                accepted = client.expect("250", "451") == "250"
                if accepted:  # after 451 the engine may have the entry all the same
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
        """Read the greeting and send LHLO."""
        self.expect("220")
        self.send(b"LHLO mta.example\r\n")
        self.expect("250")

    def begin(self) -> None:
        """Send the envelope and wait for 354."""
        self.send(ENVELOPE.encode())
        for code in ["250", *["250" for _ in RECIPIENTS], "354"]:
            self.expect(code)

    def send(self, octets: bytes) -> None:
        """Send `octets`."""
        self._socket.sendall(octets)

    def expect(self, *codes: str) -> str:
        """Read a reply and return its code.  Raises ConnectionError without a reply, AssertionError for another code."""
        line = b"250-"
        while line[3:4] == b"-":
            line = self._replies.readline()
        if not line.endswith(b"\r\n") or line.startswith(b"421"):
            raise ConnectionResetError
        assert line[:3].decode() in codes, line
        return line[:3].decode()

    def close(self) -> None:
        """Close the connection."""
        self._replies.close()
        self._socket.close()


@contextmanager
def serving(url: str, held: str | None = None) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run `lmtpref serve` with its queues at `url`; yield the process, which the caller may kill, and the port."""
    command = [sys.executable, "-m", "lmtpref", "serve", "--wait", "--listen", "127.0.0.1:0", "--queues", url]
    command += ["--held", held] if held else []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout
        yield process, int(process.stdout.readline().rpartition(":")[2])
        process.terminate()
        process.wait(60)


def entries(url: str) -> Iterator[Entry]:
    """Return the entries of the queue `in`; on AMQP they are consumed and returned, because a queue cannot be listed."""
    if url.startswith("amqp"):
        with consume(url, "in", wait=False, prefetch=MAX_PREFETCH) as consumer:
            yield from (delivery.entry for delivery in consumer)
    else:
        with closing(open_store(url)) as store:
            yield from (stored.entry() for stored in store.stored() if stored.queue == "in")


def play(trial: Trial, rounds: int) -> str:
    """Play `rounds`; return a summary line, and a line for each error."""
    for _ in range(rounds):
        trial.round()
    trial.finish()
    wrong = trial.verdict()
    counts = {name: sum(getattr(trial, name).values()) for name in ("attempts", "accepted", "unanswered")}
    return "\n".join([f"killed {trial.kills} times; {counts}; wrong: {len(wrong)}", *wrong])


@contextmanager
def trial_of(engine: str, folder: Path, chance: random.Random) -> Iterator[Trial]:
    """A trial of an engine, which is started if it is a process of its own."""
    with ExitStack() as running:
        if engine == "spool":
            yield Trial(f"maildir:{folder}/spool", chance)
        elif engine == "sqlite":
            yield Trial(f"sqlite:///{folder}/queue.db", chance)
        elif engine == "postgresql":
            cluster = running.enter_context(private_engines.postgresql())
            yield Trial(cluster.url, chance, cluster)
        else:
            broker = running.enter_context(private_engines.rabbitmq())
            yield Trial(broker.url, chance, broker, f"sqlite:///{folder}/held.db")


def main(rounds: int, seed: int, *engines: str) -> int:
    """Play `rounds` on each engine and print the results."""
    failed = False
    for engine in engines or ("spool", "sqlite"):
        chance = random.Random(seed)  # noqa: S311 - no secret
        with tempfile.TemporaryDirectory() as name, trial_of(engine, Path(name), chance) as trial:
            result = play(trial, rounds)
        failed |= not result.endswith("wrong: 0")
        print(f"{engine}: {result}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    numbers = [*sys.argv[1:3], *["20", "1"][len(sys.argv) - 1 :]]
    sys.exit(main(int(numbers[0]), int(numbers[1]), *sys.argv[3:]))
