"""One line of the log for an outage of an engine, and one for its end, however many messages are deferred meanwhile."""

from __future__ import annotations

import logging

log = logging.getLogger(__name__)


class Outage:
    """Whether the engine `name` is out of reach; called from one thread."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lasts = False

    def began(self, error: Exception) -> None:
        """Log the outage, unless it has been logged."""
        if not self._lasts:
            self._lasts = True
            problem = getattr(error, "strerror", None) or error
            log.error("the queue is out of reach, and messages are deferred until it returns: %s", problem)

    def ended(self) -> None:
        """Log the end of an outage, if there was one."""
        if self._lasts:
            self._lasts = False
            log.warning("the queue can be reached again: %s", self._name)
