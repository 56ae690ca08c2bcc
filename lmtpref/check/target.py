"""The tested program: how to reach it, one connection for each case, and time limits."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from typing import Protocol

from lmtpref.net.socket_wire import PATIENCE_SECONDS, SocketWire
from lmtpref.protocol.endpoints import parse_address
from lmtpref.protocol.errors import UsageError
from lmtpref.transcripts.recording import Recording

CASE_SECONDS = 15.0  # the limit for one case
# The limit for the replies in one case; no transcript has a hundredth of it.
CASE_OCTETS = 1 << 20
_ENDING_SECONDS = 1.0  # for a program to end after its client has disconnected
_GIVEN = "{given}"


class Target(Protocol):
    """A program under test."""

    name: str
    patience_seconds: float

    def takes(self, condition: str) -> bool:
        """Return whether the program can be tested in this condition."""

    def connect(self, conditions: Sequence[str]) -> contextlib.AbstractContextManager[BoundedWire]:
        """Connect, for one case with these conditions.  Raises OSError if the program cannot be reached."""


class BoundedWire:
    """A `Wire` that is recorded, and that returns no more octets if a case exceeds a limit.

    `exceeded` then names the limit.
    """

    instant = False

    def __init__(self, wire: SocketWire, *, seconds: float = CASE_SECONDS, octets: int = CASE_OCTETS) -> None:
        self.recording = Recording()
        self.exceeded = ""
        self._wire = wire
        self._end = time.monotonic() + seconds
        self._seconds, self._octets_left = seconds, octets

    @property
    def closed(self) -> bool:
        """Whether the server has closed, and all its octets were received."""
        return self._wire.closed

    def send(self, octets: bytes) -> None:
        """Send `octets` in one write."""
        if not self._is_over():
            self.recording.add("C", octets)
            self._wire.send(octets)

    def receive(self) -> bytes:
        """Return the octets received since; empty if none came, or a limit was exceeded."""
        return b"" if self._is_over() else self._count(self._wire.receive())

    def pause(self, seconds: float) -> bytes:
        """Wait, and return the octets received meanwhile."""
        return b"" if self._is_over() else self._count(self._wire.pause(seconds))

    def half_close(self) -> None:
        """Close the sending direction."""
        self._wire.half_close()

    def close(self) -> None:
        """Close the connection."""
        self._wire.close()

    def _count(self, octets: bytes) -> bytes:
        self._octets_left -= len(octets)
        if octets:
            self.recording.add("S", octets)
        elif self._wire.closed:
            self.recording.close("S")
        return octets

    def _is_over(self) -> bool:
        if self._octets_left < 0:
            self.exceeded = "the server sent more than any transcript has"
        elif time.monotonic() > self._end:
            self.exceeded = f"the case took more than {self._seconds:g} s"
        return bool(self.exceeded)


class ListeningTarget:
    """A server at `HOST:PORT` or `unix:PATH`, which is in exactly the named conditions.

    Raises UsageError for another form of address.
    """

    def __init__(self, address: str, *, given: frozenset[str] = frozenset(), patience_seconds: float = PATIENCE_SECONDS) -> None:
        parse_address(address)
        self.name, self.patience_seconds = address, patience_seconds
        self._given = given

    def takes(self, condition: str) -> bool:
        """Return whether the server is in this condition."""
        return condition in self._given

    @contextlib.contextmanager
    def connect(self, conditions: Sequence[str]) -> Iterator[BoundedWire]:  # noqa: ARG002 - the server is in it already
        """Connect.  Raises OSError if no server answers."""
        wire = SocketWire.dial(self.name, patience_seconds=self.patience_seconds)
        with contextlib.closing(BoundedWire(wire)) as bounded:
            yield bounded


class CommandTarget:
    """A program that speaks LMTP on its standard input and output, and is started again for each case.

    `{given}` in the command is replaced by the conditions of the case, with commas, or by `none`.  Without it, the program
    is in the named conditions.  Raises UsageError for a command with invalid shell quoting.
    """

    def __init__(self, command: str, *, given: frozenset[str] = frozenset(), patience_seconds: float = PATIENCE_SECONDS) -> None:
        try:
            self._words = shlex.split(command)
        except ValueError as error:
            raise UsageError(f"the command cannot be read: {error}: {command!r}") from None
        if not self._words:
            raise UsageError("the command is empty")
        self.name, self.patience_seconds = command, patience_seconds
        self._given = given

    def takes(self, condition: str) -> bool:
        """Return whether the program can be started in this condition."""
        return condition in self._given or any(_GIVEN in word for word in self._words)

    @contextlib.contextmanager
    def connect(self, conditions: Sequence[str]) -> Iterator[BoundedWire]:
        """Start the program.  Raises OSError if it cannot be started."""
        ours, theirs = socket.socketpair()
        words = [word.replace(_GIVEN, ",".join(conditions) or "none") for word in self._words]
        with contextlib.closing(BoundedWire(SocketWire(ours, patience_seconds=self.patience_seconds))) as bounded:
            program = None
            try:
                with theirs, signals_deferred():
                    program = subprocess.Popen(  # noqa: S603 - the user's own command
                        words, stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=subprocess.DEVNULL, start_new_session=True
                    )
                yield bounded
            finally:
                bounded.close()
                if program:
                    _end(program)


@contextlib.contextmanager
def signals_deferred() -> Iterator[None]:
    """Handle SIGTERM and SIGINT after the block, so that neither interrupts the start of a program, which would then be left."""
    arrived: list[int] = []
    with contextlib.ExitStack() as handlers:
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(ValueError):  # only the main thread may set signal handlers
                handlers.callback(signal.signal, number, signal.signal(number, lambda number, _: arrived.append(number)))
        try:
            yield
        finally:
            handlers.close()
            for came in arrived:
                signal.raise_signal(came)


def _end(program: subprocess.Popen[bytes]) -> None:
    """Wait until the program has ended; kill it and its children if it does not end."""
    for number in (None, signal.SIGTERM, signal.SIGKILL):
        if number is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(program.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            program.wait(_ENDING_SECONDS)
            return
