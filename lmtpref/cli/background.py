"""Standard error in the background: what a server logs never makes it wait, not even when the log is not read."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TextIO, cast

from lmtpref.protocol.printable import printable_lines

MAX_WAITING_OCTETS = 4_194_304  # of lines that were not written yet; what goes beyond is dropped, and counted
CLOSE_SECONDS = 2.0  # how long the end of the command waits for the last lines to be written


class BackgroundStream:
    """A text stream that passes whole lines to a file descriptor, from a thread of its own.

    `write` never waits for the descriptor.  Lines that find no room are dropped; `notice` makes the line that says how many.
    """

    def __init__(self, descriptor: int, notice: Callable[[int], str]) -> None:
        self._descriptor = descriptor
        self._notice = notice
        self._lines: list[bytes] = []
        self._waiting_octets = 0
        self._dropped = 0
        self._closed = False
        self._changed = threading.Condition()
        self._begun = threading.local()  # the line that each thread has begun
        self._thread = threading.Thread(target=self._run, name="lmtpref-log", daemon=True)
        self._thread.start()

    def write(self, text: str) -> int:
        """Take `text`; it is passed on when its line is complete."""
        *lines, rest = (getattr(self._begun, "line", "") + text).split("\n")
        self._begun.line = rest
        if lines:
            self._take("".join(f"{line}\n" for line in lines), len(lines))
        return len(text)

    def flush(self) -> None:
        """Return at once: the thread writes as soon as it can."""

    def close(self, seconds: float = CLOSE_SECONDS) -> bool:
        """Take no more, and wait until all is written, no longer than `seconds`.  Return whether it is."""
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
            self._lines.append(self._noticed() + octets)
            self._waiting_octets += len(octets)
            self._changed.notify()

    def _run(self) -> None:
        while octets := self._next():
            try:
                _write_all(self._descriptor, octets)
            except OSError:  # its reader is gone, and nothing can be said to anyone
                with self._changed:
                    self._closed = True
                    self._lines.clear()
                return

    def _next(self) -> bytes:
        """Return the lines that wait, waiting for the first; empty once all is written and closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._lines or self._dropped or self._closed)
            octets = b"".join(self._lines) or self._noticed()
            self._lines.clear()
            self._waiting_octets = 0
            return octets

    def _noticed(self) -> bytes:
        """Return the line that says what was dropped since the last one; empty if nothing was."""
        dropped, self._dropped = self._dropped, 0
        return f"{self._notice(dropped)}\n".encode() if dropped else b""


def _write_all(descriptor: int, octets: bytes) -> None:
    rest = memoryview(octets)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:  # another process has made it non-blocking
            select.select([], [descriptor], [])


@contextlib.contextmanager
def background_log() -> Iterator[None]:
    """Write what is logged and reported in the `with` block to standard error, in the background."""
    handlers = [handler for handler in logging.getLogger().handlers if isinstance(handler, logging.StreamHandler)]
    before = [handler.stream for handler in handlers]
    stream = BackgroundStream(sys.stderr.fileno(), _dropped_notice)
    sys.stderr.flush()
    for handler in handlers:
        handler.setStream(stream)
    try:
        with contextlib.redirect_stderr(cast(TextIO, stream)):
            yield
    finally:
        for handler, original in zip(handlers, before, strict=True):
            handler.setStream(original)
        stream.close()


def _dropped_notice(lines: int) -> str:
    """Return the line that says how many lines were dropped, in the form that the log has."""
    message = f"the log was not read in time: {lines} lines dropped"
    return logging.getLogger().handlers[0].format(logging.LogRecord(__name__, logging.WARNING, "", 0, message, None, None))
