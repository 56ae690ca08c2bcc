"""The errors of lmtpref, and the party responsible for each.

======================  ==========================================================
error                   responsible party, and what still works
======================  ==========================================================
PeerError               the peer; it gets `reply`, and the conversation continues (module `peer_error`)
UsageError              the caller; nothing was changed
ConfigurationError      the author of the file; the old configuration remains in effect
ReplyError              the server; its connection cannot be used any more
HandlerWarning          the author of a handler: a method has almost the name of a hook
NotArrivedError         a test: fewer messages came than it waited for
TranscriptError         the author of a transcript that is invalid, or the program that did not match it
======================  ==========================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class LmtpError(Exception):
    """The base of all exceptions that lmtpref raises on purpose."""


class UsageError(LmtpError, ValueError):
    """Raised when the caller asked for something impossible."""


class ConfigurationError(UsageError):
    """Raised for a setting that cannot be used; the text names file, line and key as far as they are known."""

    def __init__(self, problem: str, *, file: Path | str | None = None, line: int | None = None, key: str | None = None) -> None:
        place = f"{file}:{line}" if file and line else str(file or "")
        super().__init__(": ".join(part for part in (place, key, problem) if part))
        self.problem, self.file, self.line, self.key = problem, file, line, key


class HandlerWarning(UserWarning):
    """Issued for a handler's method that is never called, because its name is almost that of a hook."""


class ReplyError(LmtpError, ConnectionError):
    """Raised when a server sent text that cannot be a reply."""


class TranscriptError(LmtpError, AssertionError):
    """Raised for a transcript that is invalid or did not match; the text names document and line."""


class NotArrivedError(LmtpError, TimeoutError, AssertionError):
    """Raised when fewer messages came in time than `wait_for` or `wait_for_async` waited for."""
