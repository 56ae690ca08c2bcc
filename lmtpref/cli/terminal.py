"""Output of all commands, escaped, so that a sender cannot forge a line."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO, cast

from lmtpref.protocol.printable import printable, printable_lines

_CLOSED_BY_CLIENT = frozenset({"SSL connection is closed", "socket.send() raised exception."})


class EscapingStream:
    """A text stream that escapes control characters; line feeds and tabs pass.

    If the reader of the stream is gone, the stream drops the text.
    The command continues, with the same effects and the same exit code.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # for a terminal with a small character set

    def write(self, text: str) -> int:
        """Write `text`, escaped; return its length in characters."""
        with self._without_reader():
            self._stream.write(printable_lines(text))
        return len(text)

    def write_octets(self, octets: bytes) -> None:
        """Write `octets` unchanged, for another program."""
        with self._without_reader():
            self._stream.flush()
            self._stream.buffer.write(octets)

    def flush(self) -> None:
        """Flush the written text."""
        with self._without_reader():
            self._stream.flush()

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each of `lines`, escaped."""
        for line in lines:
            self.write(line)

    @contextlib.contextmanager
    def _without_reader(self) -> Iterator[None]:
        """Redirect this and all further output to the null device if the reader of a pipe is gone."""
        try:
            yield
        except BrokenPipeError:
            with Path(os.devnull).open("wb") as nothing:
                os.dup2(nothing.fileno(), self._stream.fileno())

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


def _open_closed_streams() -> None:
    """Open the null device for each closed standard stream, so that no file or socket gets its descriptor.

    The system gives each opened file the lowest free descriptor.
    """
    # They stay open until the process ends.
    sys.stdin = sys.stdin or Path(os.devnull).open()  # noqa: SIM115
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115


@contextlib.contextmanager
def escaping() -> Iterator[None]:
    """Escape text that is printed and logged in the `with` block."""
    _open_closed_streams()
    with (
        contextlib.redirect_stdout(cast(TextIO, EscapingStream(sys.stdout))),
        contextlib.redirect_stderr(cast(TextIO, EscapingStream(sys.stderr))),
    ):
        try:
            yield
        finally:
            sys.stdout.flush()  # here, a missing reader is not an error


def print_octets(octets: bytes) -> None:
    """Write `octets` unchanged to standard output."""
    cast(EscapingStream, sys.stdout).write_octets(octets)


def report(text: object) -> None:
    """Write `text` to standard error, after the program's name; its further lines are indented."""
    print(_indented(f"lmtpref: {text}"), file=sys.stderr, flush=True)


class LineFormatter(logging.Formatter):
    """Format log records as `report` writes text: one line, and an indented traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of `record`."""
        connection = getattr(record, "connection", None)
        about = f"connection {connection}: " if connection else ""
        line = f"lmtpref: {about}{printable(record.getMessage())}"
        return _indented(f"{line}\n{self.formatException(record.exc_info)}") if record.exc_info else line


def is_worth_logging(record: logging.LogRecord) -> bool:
    """Return whether `record` says more than that a client has closed its connection, which asyncio logs for each write after that."""
    return record.name != "asyncio" or record.msg not in _CLOSED_BY_CLIENT


def _indented(text: str) -> str:
    return "\n  ".join(printable(line) for line in text.split("\n"))
