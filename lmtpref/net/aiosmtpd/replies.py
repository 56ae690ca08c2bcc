"""The strings that aiosmtpd handlers return, as replies."""

from __future__ import annotations

import logging

from aiosmtpd.smtp import MISSING

from lmtpref.protocol.catalogue import LOCAL_ERROR_451
from lmtpref.protocol.errors import UsageError
from lmtpref.protocol.replies import Reply

log = logging.getLogger(__name__)

# A code may stand alone (RFC 5321 section 4.2), but text must follow our enhanced code.
_NO_TEXT = "(no text)"


def replies_in(status: object, *, success: str, owed: int = 1) -> list[Reply]:
    """Return the replies in `status`, a hook's return value: one, or `owed` of them.  MISSING, aiosmtpd's "as usual", gives an empty list.

    A positive reply without an enhanced code gets `success`, any other X.0.0 of its class (RFC 3463 section 3.1).
    A status that cannot be parsed, or that has another number of replies, becomes one 451 4.3.0 and is logged.
    """
    if status is MISSING:
        return []
    try:
        return _read(status, success, owed)
    except UsageError as error:
        log.error("the handler returned %.200r: %s", status, error)  # noqa: TRY400  (the handler's error needs no traceback of ours)
        return [LOCAL_ERROR_451]


def _read(status: object, success: str, owed: int) -> list[Reply]:
    replies = [_reply(lines, success) for lines in _split(status)]
    if len(replies) not in {1, owed}:
        raise UsageError(f"{len(replies)} replies instead of {owed}")
    return replies


def _split(status: object) -> list[list[str]]:
    """Return the lines of each reply; a hyphen after the code marks a line that is not the last (RFC 5321 section 4.2.1)."""
    text = status.decode("ascii", "backslashreplace") if isinstance(status, bytes) else status
    if not isinstance(text, str):
        raise UsageError("a reply is a string")
    replies: list[list[str]] = [[]]
    for line in text.encode("ascii", "backslashreplace").decode("ascii").split("\r\n"):
        replies[-1].append(line)
        if line[3:4] != "-":
            replies.append([])
    if replies.pop():
        raise UsageError("the last line has a hyphen after its code, which announces another")
    return replies


def _reply(lines: list[str], success: str) -> Reply:
    reply, head = Reply.parse(lines), Reply.parse(lines[:1])
    # A code on the first line alone applies to all lines.
    texts = reply.lines if reply.enhanced else head.lines + reply.lines[1:]
    enhanced = head.enhanced or (success if reply.positive else f"{reply.code // 100}.0.0")
    return Reply(reply.code, enhanced, *(text or _NO_TEXT for text in texts))
