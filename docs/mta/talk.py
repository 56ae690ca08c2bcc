"""Conversations with MTAs: an SMTP client, a recording proxy, and functions that wait."""

from __future__ import annotations

import re
import selectors
import socket
import textwrap
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Self

from lmtpref.protocol.endpoints import TcpAddress, parse_address
from lmtpref.transcripts.notation import Who
from lmtpref.transcripts.recording import Recording

SECONDS = 20.0  # how long anything here may take
TAB = "\N{SYMBOL FOR HORIZONTAL TABULATION}"
_TICK_SECONDS = 0.02


class Tap:
    """A proxy that forwards each connection to `upstream`, and records the octets of both directions.

    `writes` has the octets of each read with their sender; octets that were written at once usually arrive at once.
    """

    def __init__(self, upstream: str, listen: str = "127.0.0.1:0") -> None:
        self._upstream = upstream
        place = parse_address(listen)
        if isinstance(place, TcpAddress):
            self._listening = socket.create_server(place)
            self.port: int = self._listening.getsockname()[1]
        else:
            self._listening = socket.socket(socket.AF_UNIX)
            self._listening.bind(place.path)
            Path(place.path).chmod(0o777)  # for the MTA's process, whichever user runs it
            self._listening.listen()
        self._recordings: list[_Recording] = []
        self.writes: list[tuple[str, bytes]] = []
        self._thread = Thread(target=self._accept, daemon=True)
        self._thread.start()

    def dialogues(self, count: int = 1) -> list[str]:
        """Return the conversations since the last call, in order, once `count` have ended."""
        wait_until(lambda: sum(recording.ended for recording in self._recordings) >= count, f"{count} connections to end")
        recordings, self._recordings = self._recordings, []
        return [readable(str(recording)) for recording in recordings]

    def dialogue(self) -> str:
        """Return the one conversation since the last call, once it has ended."""
        [dialogue] = self.dialogues()
        return dialogue

    def _accept(self) -> None:
        with suppress(OSError):  # it was closed
            while True:
                connected, _ = self._listening.accept()
                Thread(target=self._pass_on, args=[connected], daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        recording = _Recording()
        self._recordings.append(recording)
        with client, suppress(OSError), connect(self._upstream) as server, selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ)
            selector.register(server, selectors.EVENT_READ)
            while server in {key.fileobj for key in selector.get_map().values()}:
                for key, _ in selector.select():
                    source, other = (client, server) if key.fileobj is client else (server, client)
                    if not self._move(recording, "C" if source is client else "S", source, other):
                        selector.unregister(source)
        recording.ended = True

    def _move(self, recording: Recording, who: Who, source: socket.socket, other: socket.socket) -> bool:
        """Forward the received octets; return False at the end.  The server's last octets are recorded even if the client has gone."""
        octets = b""
        with suppress(ConnectionError):
            octets = source.recv(65536)
        if octets:
            recording.add(who, octets)
            self.writes.append((who, octets))
        with suppress(OSError):
            other.sendall(octets) if octets else other.shutdown(socket.SHUT_WR)
        return bool(octets)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)  # which wakes accept
        self._listening.close()
        self._thread.join(SECONDS)


class _Recording(Recording):
    ended = False  # both sides have nothing more to say


def connect(address: str) -> socket.socket:
    """A socket that is connected to HOST:PORT or unix:PATH."""
    place = parse_address(address)
    if isinstance(place, TcpAddress):
        return socket.create_connection(place, SECONDS)
    connected = socket.socket(socket.AF_UNIX)
    connected.connect(place.path)
    return connected


def submit(port: int, sender: str, *recipients: str, message: str | bytes = "", also: Sequence[str] = ()) -> str:
    """Offer a message to an MTA on this port, and return the dialogue after the reply to EHLO.

    The client sends one command at a time, DATA if a recipient was accepted and there is a message, and QUIT at the
    end.  `also` are parameters of MAIL.
    """
    with connect(f"127.0.0.1:{port}") as client:
        client.settimeout(SECONDS)
        conversation = Conversation(client)
        conversation.read_reply()
        conversation.say("EHLO client.example")
        conversation.recording = Recording()
        accepted = False
        if conversation.say(" ".join([f"MAIL FROM:<{sender}>", *also])) < 400:
            codes = [conversation.say(f"RCPT TO:<{recipient}>") for recipient in recipients]
            accepted = min(codes) < 400
        if accepted and message and conversation.say("DATA") == 354:
            content = message.encode() if isinstance(message, str) else message
            conversation.send(stuffed(content))
            conversation.read_reply()
        conversation.say("QUIT")
        return str(conversation.recording)


class Conversation:
    """A client's side of SMTP, one command at a time."""

    def __init__(self, connected: socket.socket) -> None:
        self.recording = Recording()
        self._socket = connected
        self._lines = connected.makefile("rb")

    def say(self, command: str) -> int:
        """Send a command, and return the code of its reply."""
        self.send(f"{command}\r\n".encode())
        return self.read_reply()

    def send(self, octets: bytes) -> None:
        """Send octets without waiting for a reply."""
        self.recording.add("C", octets)
        self._socket.sendall(octets)

    def read_reply(self) -> int:
        """Return the code of the next reply."""
        line = b"   -"
        while line[3:4] == b"-":
            line = self._lines.readline()
            self.recording.add("S", line)
        return int(line[:3] or b"0")


def readable(recorded: str) -> str:
    """Return the recorded text with visible tabs."""
    return re.sub(r"<raw ((?:[0-9a-f]{2} )+)0d 0a>", lambda mark: bytes.fromhex(mark[1]).decode("latin-1").replace("\t", TAB), recorded)


def stuffed(content: bytes) -> bytes:
    """`content` as DATA sends it: with CRLFs, its dots stuffed, and the final dot."""
    lines = re.sub(rb"\r?\n", b"\r\n", textwrap.dedent(content.decode("latin-1")).lstrip("\n").encode("latin-1"))
    lines = lines if lines.endswith(b"\r\n") else lines + b"\r\n"
    return re.sub(rb"(?m)^\.", b"..", lines) + b".\r\n"


def wait_until(done: Callable[[], object], what: str, seconds: float = SECONDS) -> None:
    """Wait until `done`.  Raises TimeoutError, naming `what` was waited for."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        time.sleep(_TICK_SECONDS)


def answers(port: int) -> bool:
    """Return whether this port of loopback accepts connections."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
