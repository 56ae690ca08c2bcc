"""The log of outages: one line for the start and one for the end, however many messages are deferred meanwhile."""

from __future__ import annotations

import errno
import logging

log = logging.getLogger(__name__)


class Outage:
    """The state of the engine `name`: reachable or not.  Not safe to use from several threads."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lasts = False

    def began(self, error: Exception) -> None:
        """Log the start of an outage, unless it is already logged."""
        if not self._lasts:
            self._lasts = True
            problem = getattr(error, "strerror", None) or error
            log.error("the queue is unreachable; messages are deferred until it is available again: %s", problem)

    def ended(self) -> None:
        """Log the end of an outage, if there was one."""
        if self._lasts:
            self._lasts = False
            log.warning("the queue is available again: %s", self._name)


class Failures:
    """The errors with which entries are not stored, such as a full disk.

    Errors with the same number (errno) are one failure.  It ends when an entry of the list that had it first is stored,
    because it may concern only that list.  The list of mail for postmaster is None.
    """

    def __init__(self) -> None:
        self._lasting: dict[int | None, str | None] = {}

    def note(self, error: OSError | None, mailing_list: str | None, address: str) -> None:
        """Log the error of an entry, unless its failure is already logged; without an error, the end of the list's failures."""
        if error is None:
            if self._lasting:
                self._end(mailing_list)
        elif error.errno not in self._lasting:
            log.error("not stored for %s: %s", address, in_words(error))
            # Only the message is too large, and the next one may fit.
            if error.errno != errno.EMSGSIZE:
                self._lasting[error.errno] = mailing_list

    def _end(self, mailing_list: str | None) -> None:
        ended = [number for number, first in self._lasting.items() if first == mailing_list]
        for number in ended:
            del self._lasting[number]
        if ended:
            log.warning("entries for %s are stored again", mailing_list or "postmaster")


def in_words(error: Exception) -> str:
    """Return the first line of an error's text; a TimeoutError may have none."""
    return str(error).splitlines()[0] if str(error) else "no answer in time"
