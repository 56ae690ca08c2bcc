"""What can go wrong, and whose fault it is.

======================  ==========================================================
error                   whose fault, and what still works
======================  ==========================================================
PeerError               the peer's; it is told `reply`, and the conversation goes on
UsageError              the caller's; nothing was changed
ConfigurationError      whoever wrote the file; the old configuration stays
ReplyError              the server's; its connection is of no more use
HandlerWarning          the author's of a handler: a method has almost the name of a hook
NotArrivedError         a test's: fewer messages came than it waited for
TranscriptError         a transcript that cannot be read, or that did not match
======================  ==========================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from lmtpref.protocol.replies import Reply


class LmtpError(Exception):
    """Anything that lmtpref raises on purpose."""


class PeerError(LmtpError):
    """The peer broke the protocol; `reply` is what it is told (RFC 5321 section 4.2)."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply))
        self.reply = reply


class UsageError(LmtpError, ValueError):
    """The caller asked for something that cannot be."""


class ConfigurationError(UsageError):
    """A setting that cannot be used; the text names file, line and key as far as they are known."""

    def __init__(self, problem: str, *, file: Path | str | None = None, line: int | None = None, key: str | None = None) -> None:
        place = f"{file}:{line}" if file and line else str(file or "")
        super().__init__(": ".join(part for part in (place, key, problem) if part))
        self.problem, self.file, self.line, self.key = problem, file, line, key


class HandlerWarning(UserWarning):
    """Issued for a handler's method that is never called, because its name is almost that of a hook."""


class ReplyError(LmtpError, ConnectionError):
    """A server sent what no reply can be."""


class TranscriptError(LmtpError, AssertionError):
    """A transcript that cannot be read or did not match; the text names document and line."""


class NotArrivedError(LmtpError, TimeoutError, AssertionError):
    """Fewer messages came in time than `wait_for` or `wait_for_async` waited for."""
