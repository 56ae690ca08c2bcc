"""The log of outages: one line for the start and one for the end, however many messages are deferred meanwhile."""

from __future__ import annotations

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
