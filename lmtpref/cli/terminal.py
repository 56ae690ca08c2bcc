"""What every command writes to standard output and standard error: escaped, so that a sender cannot forge a line."""

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


class EscapingStream:
    """A text stream that escapes what would control a terminal; line feeds and tabs pass.

    If the reader of the stream is gone, the stream drops the text.
    A command then does all that it would have done, with the same exit code.
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
        """Write `octets` as they are, for another program."""
        with self._without_reader():
            self._stream.flush()
            self._stream.buffer.write(octets)

    def flush(self) -> None:
        """Pass on what was written so far."""
        with self._without_reader():
            self._stream.flush()

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each of `lines`, escaped."""
        for line in lines:
            self.write(line)

    @contextlib.contextmanager
    def _without_reader(self) -> Iterator[None]:
        """Send this output, and all that follows, to the null device if the reader of a pipe is gone."""
        try:
            yield
        except BrokenPipeError:
            with Path(os.devnull).open("wb") as nothing:
                os.dup2(nothing.fileno(), self._stream.fileno())

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


@contextlib.contextmanager
def escaping() -> Iterator[None]:
    """Escape what is printed and logged in the `with` block."""
    with (
        contextlib.redirect_stdout(cast(TextIO, EscapingStream(sys.stdout))),
        contextlib.redirect_stderr(cast(TextIO, EscapingStream(sys.stderr))),
    ):
        try:
            yield
        finally:
            sys.stdout.flush()  # here, where a missing reader is no error


def print_octets(octets: bytes) -> None:
    """Write `octets` to the standard output of a command as they are."""
    cast(EscapingStream, sys.stdout).write_octets(octets)


def report(text: object) -> None:
    """Write `text` to standard error, after the program's name; further lines of it are indented."""
    print(_indented(f"lmtpref: {text}"), file=sys.stderr, flush=True)


class LineFormatter(logging.Formatter):
    """Log records as `report` writes them: one line, and an indented traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of `record`."""
        connection = getattr(record, "connection", None)
        about = f"connection {connection}: " if connection else ""
        line = f"lmtpref: {about}{printable(record.getMessage())}"
        return _indented(f"{line}\n{self.formatException(record.exc_info)}") if record.exc_info else line


def _indented(text: str) -> str:
    return "\n  ".join(printable(line) for line in text.split("\n"))
