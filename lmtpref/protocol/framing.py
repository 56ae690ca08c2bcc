"""Octets in; command lines and message content out.  Each octet is searched once, and the kept octets are bounded."""

from __future__ import annotations

import re
from io import IncrementalNewlineDecoder

from lmtpref.protocol.catalogue import LINE_TOO_LONG_500, MESSAGE_TOO_BIG_552
from lmtpref.protocol.peer_error import PeerError
from lmtpref.protocol.replies import Reply

_CRLF = b"\r\n"
_LINE_WITH_DOT = b"\r\n."
_END_OF_DATA = b"\r\n.\r\n"  # RFC 5321 section 4.1.1.4; nothing else ends the data
# A read up to this size is divided in place.  A larger one is probably part of a large message.
MAX_CUT_IN_PLACE_OCTETS = 16_384
_WINDOW_OCTETS = 4096  # searched for the end of the data, from a dot on
_BARE_NEWLINE = re.compile(rb"(?<!\r)\n|\r(?!\n)")


class Framer:
    """The input of one connection, divided into frames.

    Of an incomplete frame, at most `max_line_octets` of a command or `content_room(max_message_octets)` of content are kept.
    If a frame is longer, its other octets are read and dropped.
    Dot-stuffing is removed while content arrives, so the end of a large message takes no longer than any other part of it.

    A small read is divided in place, in `_read` from `_at` on.  The octets of an incomplete frame are moved to `waiting`, which
    grows until the frame is complete.  Only one of the two holds octets at a time; `is_empty` is true if neither does.
    """

    def __init__(self, *, max_line_octets: int, max_message_octets: int) -> None:
        self._max_line = max_line_octets
        self._max_message = max_message_octets
        self.waiting = bytearray()
        self.is_empty = True
        self._read = b""
        self._at = 0
        # Octets of `waiting` that were searched; in content, their dot-stuffing is removed.
        self._scanned = 0
        self._dropped = False  # whether the start of the current frame was dropped, because the frame is too long
        self._unwanted = False  # whether the current content will be dropped at its end

    @property
    def kept_octets(self) -> int:
        """The number of octets that belong to no complete frame yet."""
        return len(self.waiting) + len(self._read) - self._at

    def feed(self, octets: bytes | memoryview) -> None:
        """Add octets from the peer."""
        if self.is_empty and len(octets) <= MAX_CUT_IN_PLACE_OCTETS:
            self._read = bytes(octets)
            self._at = 0
        else:
            self._keep_read()
            self.waiting += octets
        self.is_empty = False

    def line(self) -> bytes | None:
        """Return the next command line without its CRLF; None if it is incomplete (RFC 5321 section 2.4).

        Raises PeerError, once for each line over the limit.
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
        """Note that the last read was consumed up to `end`."""
        if end == len(self._read):
            self._read, self._at, self.is_empty = b"", 0, True
        else:
            self._at = end

    def _waiting_line(self) -> bytes | None:
        if (end := self.waiting.find(_CRLF, self._scanned)) < 0:
            self._keep(self._max_line, max(0, len(self.waiting) - 1))
            return None
        too_long = self._dropped or end + 2 > self._max_line
        line = bytes(self.waiting[:end])
        self._advance(end + 2)
        if too_long:
            raise PeerError(LINE_TOO_LONG_500)
        return line

    def content(self) -> bytes | Reply | None:
        """Return the content up to the final dot, without dot-stuffing; None if it is incomplete.

        Return a Reply instead if the content is too big (RFC 1870 section 4).
        """
        at = self._at
        if (end := self._read.find(_END_OF_DATA, at)) < 0 or self._read.startswith(b".\r\n", at):
            self._keep_read()
            return self._waiting_content()
        content = self._read[at + self._read.startswith(b".", at) : end + 2]
        self._take_read(end + 5)
        if _is_stuffed(content, 0, len(content)):
            content = content.replace(_LINE_WITH_DOT, _CRLF)
        return MESSAGE_TOO_BIG_552 if len(content) > self._max_message else content

    def _waiting_content(self) -> bytes | Reply | None:
        if not self._scanned and not self._dropped and self.waiting.startswith(b".\r\n"):
            return self._cut(0, 3)
        if (end := self._end_of_data()) < 0:
            self._keep(0 if self._unwanted else content_room(self._max_message), self._unstuff(self._searched()))
            return None
        too_long = self._dropped
        content = self._cut(self._unstuff(end + 2), 3, begin=self.waiting.startswith(b"."))
        return MESSAGE_TOO_BIG_552 if too_long or len(content) > self._max_message else content

    def chunk(self, octets: int) -> bytes | None:
        """Return the next `octets` octets, whatever they are; None if some are missing (RFC 3030 section 2)."""
        self._keep_read()
        return self._cut(octets, 0) if len(self.waiting) >= octets else None

    def skip(self, octets: int) -> int:
        """Drop up to `octets` received octets; return how many are still to be skipped."""
        self._keep_read()
        there = min(octets, len(self.waiting))
        self._advance(there)
        return octets - there

    def discard(self) -> None:
        """Drop the content that has arrived, and the rest when it arrives; `content` then reports that it is too big."""
        self._keep_read()
        self._unwanted = True
        self.is_empty = False  # so that further octets are searched in `waiting`
        self._keep(0, self._scanned)  # the unsearched octets may hold the end, and commands after it

    def _keep_read(self) -> None:
        """Move the rest of the last read to `waiting`."""
        if self._read:
            self.waiting += self._read[self._at :]
            self._read, self._at = b"", 0

    def _end_of_data(self) -> int:
        """Return the offset of the end of the data, searching only new octets; -1 if it has not come.

        Searching for one octet is many times faster than for five, and most large content has no dots, because it is base64.
        """
        at = self._scanned
        while (dot := self.waiting.find(b".", at)) >= 0:
            end = self.waiting.find(_END_OF_DATA, max(self._scanned, dot - 2), dot + _WINDOW_OCTETS)
            if end >= 0:
                return end
            at = dot + _WINDOW_OCTETS - 2  # an end that was cut off has its dot here or later
        return -1

    def _searched(self) -> int:
        """Return the offset before which no end of data begins, if `_end_of_data` has found none."""
        end = max(0, len(self.waiting) - len(_END_OF_DATA) + 1)
        # The CRLF and the dot of one line stay together, because they are replaced together.
        split = self.waiting.find(_LINE_WITH_DOT, max(self._scanned, end - 2), end + 2)
        return end if split < 0 else split

    def _unstuff(self, end: int) -> int:
        """Remove the dot-stuffing from new octets up to `end`; return the new position of `end` (RFC 5321 section 4.5.2)."""
        begin = self._scanned
        if not _is_stuffed(self.waiting, begin, end):
            return end
        content = self.waiting[begin:end].replace(_LINE_WITH_DOT, _CRLF)
        self.waiting[begin:end] = content
        return begin + len(content)

    def _keep(self, limit: int, searched: int) -> None:
        """Note that the first `searched` octets were searched, and drop them if the frame outgrew `limit`."""
        if searched and len(self.waiting) > limit:
            del self.waiting[:searched]
            self._dropped = True
            searched = 0
        self._scanned = searched

    def _cut(self, end: int, terminator: int, *, begin: int = 0) -> bytes:
        with memoryview(self.waiting) as view:
            frame = bytes(view[begin:end])
        self._advance(end + terminator)
        return frame

    def _advance(self, octets: int) -> None:
        """Drop the consumed octets; a new frame begins."""
        del self.waiting[:octets]
        self.is_empty = not self.waiting
        self._scanned = 0
        self._dropped = self._unwanted = False


def content_room(max_message_octets: int) -> int:
    """Return how many octets of a message's content are kept: `max_message_octets`, and 8 for dot-stuffing or the end of the data."""
    return max_message_octets + 8


def _is_stuffed(octets: bytes | bytearray, begin: int, end: int) -> bool:
    """Return whether any line there, except the first, begins with a dot.

    Most text has few dots; after the last one, nothing is searched.
    """
    return octets.find(_LINE_WITH_DOT, begin, octets.rfind(b".", begin, end) + 1) >= 0


def first_bare_newline(content: bytes) -> int | None:
    """Return the offset of the first bare CR or LF; None if every one is part of a CRLF (RFC 5321 section 2.3.8).

    The standard library's decoder finds the kinds of line ends in one pass.
    """
    decoder = IncrementalNewlineDecoder(None, translate=False)
    decoder.decode(content.decode("latin-1"), final=True)
    if decoder.newlines in {None, "\r\n"}:
        return None
    match = _BARE_NEWLINE.search(content)
    return match and match.start()


def has_line_over(content: bytes, limit: int) -> bool:
    """Return whether any line of `content` has more than `limit` octets, including its CRLF.  Every line must end with CRLF.

    Each search begins at the last line end within `limit` octets, so short lines are not examined one by one.
    """
    begin = 0
    while begin < len(content):
        end = content.rfind(_CRLF, begin, begin + limit)
        if end < 0:
            return True
        begin = end + len(_CRLF)
    return False
