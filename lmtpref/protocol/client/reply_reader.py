"""Octets in, replies out: the client's counterpart of `framing`."""

from __future__ import annotations

from collections import deque

from lmtpref.protocol.errors import ReplyError

MAX_LINE_OCTETS = 4096  # with CRLF; eight times what RFC 5321 section 4.5.3.1.5 allows a server
MAX_LINES = 1000  # in one reply; RFC 5321 section 4.2.1 sets no limit

_TOO_LONG = f"a reply line of more than {MAX_LINE_OCTETS} octets (RFC 5321 section 4.5.3.1.5)"


class ReplyReader:
    """A reader of the server's replies, which their hyphens group (RFC 5321 section 4.2.1).

    Keeps at most one unfinished reply of `MAX_LINES` lines, and the received octets not yet read.
    """

    def __init__(self) -> None:
        self._whole: deque[bytes] = deque()  # received lines that were not read yet
        self._rest = b""  # the last line, while its end is missing
        self._lines: list[bytes] = []  # of the unfinished reply

    def feed(self, octets: bytes) -> None:
        """Add octets from the server."""
        *whole, self._rest = (self._rest + octets).split(b"\r\n")
        self._whole.extend(whole)

    def next(self) -> tuple[bytes, ...] | None:
        """Return the lines of the next whole reply, without CRLFs; None if it is incomplete.

        A line that is not part of any reply ends the reply, so the client never waits for a line that will not come.
        Raises ReplyError for a line or a reply over the limits.
        """
        while self._whole:
            line = self._whole.popleft()
            if len(line) > MAX_LINE_OCTETS - len(b"\r\n"):
                raise ReplyError(_TOO_LONG)
            self._lines.append(line)
            if line[3:4] != b"-" or not line[:3].isdigit():
                reply = tuple(self._lines)
                self._lines.clear()
                return reply
            if len(self._lines) >= MAX_LINES:
                raise ReplyError(f"a reply of more than {MAX_LINES} lines")
        if len(self._rest) > MAX_LINE_OCTETS:
            raise ReplyError(_TOO_LONG)
        return None

    @property
    def unfinished(self) -> bytes:
        """The received part of an incomplete reply."""
        return b"".join([line + b"\r\n" for line in (*self._lines, *self._whole)]) + self._rest
