"""Octets in; command lines and message content out.  Each octet is searched once, and what is kept is bounded."""

from __future__ import annotations

import re
from io import IncrementalNewlineDecoder

from lmtpref.protocol.catalogue import LINE_TOO_LONG_500, MESSAGE_TOO_BIG_552
from lmtpref.protocol.errors import PeerError
from lmtpref.protocol.replies import Reply

_CRLF = b"\r\n"
_END_OF_DATA = b"\r\n.\r\n"  # RFC 5321 section 4.1.1.4; nothing else ends the data
MAX_CUT_IN_PLACE_OCTETS = 16_384  # of one read; a larger one is part of a larger message
_WINDOW_OCTETS = 4096  # that are searched for all of it, where there is a dot
_BARE_NEWLINE = re.compile(rb"(?<!\r)\n|\r(?!\n)")


class Framer:
    """The input of one connection, cut where the protocol cuts it.

    At most `max_line_octets` of an unfinished command and 4/3 of `max_message_octets` of unfinished content are kept
    (un-stuffing may take away one octet in four); the rest of anything longer is read and dropped.

    A small read is cut where it lies, in `_read` from `_at` on.  What no frame ends in is moved to `waiting`, where it grows until
    the frame is whole; only one of the two holds octets at a time.  `is_empty` says that neither does.
    """

    def __init__(self, *, max_line_octets: int, max_message_octets: int) -> None:
        self._max_line = max_line_octets
        self._max_message = max_message_octets
        self.waiting = bytearray()
        self.is_empty = True
        self._read = b""
        self._at = 0
        self._scanned = 0  # octets of `waiting` that need not be searched again
        self._dropped = False  # whether the start of the present frame is gone, because the frame is too long
        self._unwanted = False  # whether the present content will be dropped once its end is found

    @property
    def kept_octets(self) -> int:
        """How many octets have come and belong to no frame yet."""
        return len(self.waiting) + len(self._read) - self._at

    def feed(self, octets: bytes | memoryview) -> None:
        """Take what the peer sent."""
        if self.is_empty and len(octets) <= MAX_CUT_IN_PLACE_OCTETS:
            self._read = bytes(octets)
            self._at = 0
        else:
            self._keep_read()
            self.waiting += octets
        self.is_empty = False

    def line(self) -> bytes | None:
        """Return the next command line without its CRLF; None until that has come (RFC 5321 section 2.4).

        Raises PeerError, once for each such line, for one over the limit.
        """
        at = self._at
        if (end := self._read.find(_CRLF, at)) < 0:
            self._keep_read()
            return self._waiting_line()
        line = self._read[at:end]
        self._take_read(end + 2)
        if end + 2 - at > self._max_line:
            raise PeerError(LINE_TOO_LONG_500)
        return line

    def _take_read(self, end: int) -> None:
        """Note that the last read was taken up to `end`."""
        if end == len(self._read):
            self._read, self._at, self.is_empty = b"", 0, True
        else:
            self._at = end

    def _waiting_line(self) -> bytes | None:
        if (end := self.waiting.find(_CRLF, self._scanned)) < 0:
            self._keep(self._max_line, tail=1)
            return None
        too_long = self._dropped or end + 2 > self._max_line
        line = bytes(self.waiting[:end])
        self._advance(end + 2)
        if too_long:
            raise PeerError(LINE_TOO_LONG_500)
        return line

    def content(self) -> bytes | Reply | None:
        """Return the content up to the final dot, without dot-stuffing; None until that has come.

        A Reply instead, if the content is too big (RFC 1870 section 4).
        """
        at = self._at
        if (end := self._read.find(_END_OF_DATA, at)) >= 0 and not self._read.startswith(b".\r\n", at):
            content = self._read[at : end + 2]
            self._take_read(end + 5)
            dropped = False
        else:
            self._keep_read()
            if not self._scanned and not self._dropped and self.waiting.startswith(b".\r\n"):
                return self._cut(0, 3)
            if (end := self._end_of_data()) < 0:
                self._keep(0 if self._unwanted else content_room(self._max_message), tail=4)
                return None
            dropped = self._dropped
            content = self._cut(end + 2, 3)
        content = _unstuffed(content)
        return MESSAGE_TOO_BIG_552 if dropped or len(content) > self._max_message else content

    def chunk(self, octets: int) -> bytes | None:
        """Return the next `octets` octets, whatever they are; None until all have come (RFC 3030 section 2)."""
        self._keep_read()
        return self._cut(octets, 0) if len(self.waiting) >= octets else None

    def skip(self, octets: int) -> int:
        """Drop up to `octets` octets of what has come; return how many are still to be skipped."""
        self._keep_read()
        there = min(octets, len(self.waiting))
        self._advance(there)
        return octets - there

    def discard(self) -> None:
        """Drop the content that has come so far; its end is still looked for, and it will be too big."""
        self._keep_read()
        self._unwanted = True
        self.is_empty = False  # so that what comes is searched in `waiting`
        # What was not searched may hold the end, and commands after it.
        if self._scanned >= len(self.waiting) - 4:
            self._keep(0, tail=4)

    def _keep_read(self) -> None:
        """Move what is left of the last read to `waiting`."""
        if self._read:
            self.waiting += self._read[self._at :]
            self._read, self._at = b"", 0

    def _end_of_data(self) -> int:
        """Where the end of the data begins, in what was not searched before; -1 if it has not come.

        To look for one octet is many times faster than for five, and most of what is large has no dots: it is base64.
        """
        at = self._scanned
        while (dot := self.waiting.find(b".", at)) >= 0:
            end = self.waiting.find(_END_OF_DATA, max(self._scanned, dot - 2), dot + _WINDOW_OCTETS)
            if end >= 0:
                return end
            at = dot + _WINDOW_OCTETS - 2  # an end that was cut off has its dot here, or behind
        return -1

    def _keep(self, limit: int, *, tail: int) -> None:
        """Note that all but the last `tail` octets were searched, and drop them if the frame outgrew `limit`."""
        if len(self.waiting) > max(limit, tail):
            del self.waiting[:-tail]
            self._dropped = True
        self._scanned = max(0, len(self.waiting) - tail)

    def _cut(self, end: int, terminator: int) -> bytes:
        with memoryview(self.waiting) as view:
            frame = bytes(view[:end])
        self._advance(end + terminator)
        return frame

    def _advance(self, octets: int) -> None:
        """Forget what was taken; a new frame begins."""
        del self.waiting[:octets]
        self.is_empty = not self.waiting
        self._scanned = 0
        self._dropped = self._unwanted = False


def content_room(max_message_octets: int) -> int:
    """Return how many octets a message of that size may have on the wire: three may be stuffed to four, and its end has begun."""
    return max_message_octets * 4 // 3 + 4


def _unstuffed(content: bytes) -> bytes:
    """`content` without the dot that begins a line of more (RFC 5321 section 4.5.2).

    Text with few dots is the rule: behind the last one nothing is searched.
    """
    if content.startswith(b"."):
        content = content[1:]
    return content if content.find(b"\r\n.", 0, content.rfind(b".") + 1) < 0 else content.replace(b"\r\n.", _CRLF)


def first_bare_newline(content: bytes) -> int | None:
    """The offset of the first CR or LF that is not half of a CRLF; None if there is none (RFC 5321 section 2.3.8).

    The standard library's decoder tells in one pass which line ends there are.
    """
    decoder = IncrementalNewlineDecoder(None, translate=False)
    decoder.decode(content.decode("latin-1"), final=True)
    if decoder.newlines in {None, "\r\n"}:
        return None
    match = _BARE_NEWLINE.search(content)
    return match and match.start()
