"""Standard error in the background: logging never blocks the server, even if the log is not read."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import select
import sys
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple, TextIO, cast

from lmtpref.protocol.printable import printable_lines

# The octets of lines that wait to be written; lines beyond that are dropped and counted.
MAX_WAITING_OCTETS = 4_194_304
# How long the end of the command waits for the last lines to be written.
CLOSE_SECONDS = 2.0
LINE_FEED = ord("\n")


class _Batch(NamedTuple):
    """Octets that wait to be written, and the number of lines that are lost if they cannot be."""

    octets: bytes
    lines: int


class BackgroundStream:
    """A text stream whose own thread writes whole lines to a file descriptor.

    `write` never waits for the descriptor.  Lines without room are dropped, and so are lines that cannot be written, for example
    because the disk is full; `notice` returns the line that reports their number.
    """

    def __init__(self, descriptor: int, notice: Callable[[int], str]) -> None:
        self._descriptor = descriptor
        self._notice = notice
        self._batches: list[_Batch] = []
        self._waiting_octets = 0
        self._failed = False  # the last batch could not be written
        self._is_line_open = False  # the last octet that was written is not a line feed
        self._dropped = 0
        self._closed = False
        self._changed = threading.Condition()
        self._begun = threading.local()  # the incomplete line of each thread
        self._thread = threading.Thread(target=self._run, name="lmtpref-log", daemon=True)
        self._thread.start()

    def write(self, text: str) -> int:
        """Take `text`; each line is written once it is complete."""
        *lines, rest = (getattr(self._begun, "line", "") + text).split("\n")
        self._begun.line = rest
        if lines:
            self._take("".join(f"{line}\n" for line in lines), len(lines))
        return len(text)

    def flush(self) -> None:
        """Do nothing: the thread writes as soon as it can."""

    def close(self, seconds: float = CLOSE_SECONDS) -> bool:
        """Take no more, and wait at most `seconds` until all is written.  Return whether it is."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def _take(self, text: str, lines: int) -> None:
        octets = printable_lines(text).encode("utf-8", "backslashreplace")
        with self._changed:
            if self._closed or self._waiting_octets + len(octets) > MAX_WAITING_OCTETS:
                self._dropped += lines
                return
            self._batches += [*self._take_notice(), _Batch(octets, lines)]
            self._waiting_octets += len(octets)
            self._changed.notify()

    def _run(self) -> None:
        while batches := self._next():
            try:
                self._write_all(b"".join(batch.octets for batch in batches))
            # The error cannot be reported now.  The next line is another attempt.
            except OSError:
                with self._changed:
                    self._failed = True
                    self._dropped += sum(batch.lines for batch in batches)
                    if self._closed:
                        return
            else:
                self._failed = False

    def _next(self) -> list[_Batch]:
        """Return the waiting lines, after waiting for the first one; empty once the stream is closed and all is written."""
        with self._changed:
            self._changed.wait_for(lambda: self._batches or (self._dropped and not self._failed) or self._closed)
            batches = self._batches or self._take_notice()
            self._batches = []
            self._waiting_octets = 0
            return batches

    def _take_notice(self) -> list[_Batch]:
        """Return the line that reports the lines dropped since the last such line; empty if none were dropped."""
        dropped, self._dropped = self._dropped, 0
        return [_Batch(f"{self._notice(dropped)}\n".encode(), dropped)] if dropped else []

    def _write_all(self, octets: bytes) -> None:
        rest = memoryview(b"\n" + octets if self._is_line_open else octets)
        while rest:
            try:
                written = os.write(self._descriptor, rest)
            # Another process has made the descriptor non-blocking.
            except BlockingIOError:
                select.select([], [self._descriptor], [])
            else:
                self._is_line_open = rest[written - 1] != LINE_FEED
                rest = rest[written:]


class NonblockingStream:
    """A text stream that writes each line at once, or drops it if a file descriptor would have to be waited for.

    It has no thread, so a process with this stream can fork.  `notice` returns the line that reports the number of dropped lines.
    """

    def __init__(self, descriptor: int, notice: Callable[[int], str]) -> None:
        self._descriptor = descriptor
        self._notice = notice
        self._begun = ""
        self._dropped = 0
        self._is_line_open = False  # the last octet that was written is not a line feed

    def write(self, text: str) -> int:
        """Take `text`; each line is written once it is complete."""
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            if self._dropped and self._is_written(self._notice(self._dropped)):
                self._dropped = 0
            self._dropped += not self._is_written(line)
        return len(text)

    def flush(self) -> None:
        """Do nothing: each line is written at once."""

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def _is_written(self, line: str) -> bool:
        """Write a line, in pieces that a ready pipe takes whole; return False if the descriptor does not take it."""
        octets = b"\n" * self._is_line_open + printable_lines(line).encode("utf-8", "backslashreplace") + b"\n"
        # The reader of the descriptor may be gone, or the disk full; the error cannot be reported now.
        with contextlib.suppress(OSError):
            for start in range(0, len(octets), select.PIPE_BUF):
                if not select.select([], [self._descriptor], [], 0)[1]:
                    return False
                piece = octets[start : start + select.PIPE_BUF]
                written = os.write(self._descriptor, piece)
                self._is_line_open = piece[written - 1] != LINE_FEED
                if written < len(piece):
                    return False
            return True
        return False


@contextlib.contextmanager
def background_log() -> Iterator[None]:
    """Write logged and reported lines in the `with` block to standard error, in the background."""
    stream = BackgroundStream(sys.stderr.fileno(), _dropped_notice)
    try:
        with _log_to(stream):
            yield
    finally:
        stream.close()


@contextlib.contextmanager
def nonblocking_log() -> Iterator[None]:
    """Write logged and reported lines in the `with` block to standard error, or drop them if it is not read."""
    with contextlib.ExitStack() as stack:
        # A program that calls `main` may have replaced standard error by an object without a descriptor.
        with contextlib.suppress(io.UnsupportedOperation):
            stack.enter_context(_log_to(NonblockingStream(sys.stderr.fileno(), _dropped_notice)))
        yield


@contextlib.contextmanager
def _log_to(stream: BackgroundStream | NonblockingStream) -> Iterator[None]:
    handlers = [handler for handler in logging.getLogger().handlers if isinstance(handler, logging.StreamHandler)]
    before = [handler.stream for handler in handlers]
    sys.stderr.flush()
    for handler in handlers:
        handler.setStream(stream)
    try:
        with contextlib.redirect_stderr(cast(TextIO, stream)):
            yield
    finally:
        for handler, original in zip(handlers, before, strict=True):
            handler.setStream(original)


def _dropped_notice(lines: int) -> str:
    """Return the line that reports the number of dropped lines, in the format of the log."""
    message = f"the log was not read in time: {lines} lines dropped"
    return logging.getLogger().handlers[0].format(logging.LogRecord(__name__, logging.WARNING, "", 0, message, None, None))
