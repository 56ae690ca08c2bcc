"""The report of connections that the system cannot accept: one line for each series of failures."""

from __future__ import annotations

import asyncio
import errno
import logging
from typing import Any

# A failure is reported only if there was none for this time before it.
QUIET_SECONDS = 60.0
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

log = logging.getLogger(__name__)


class AcceptErrors:
    """An exception handler for event loops: of a series of connections that cannot be accepted, it reports only the first."""

    def __init__(self) -> None:
        self._quiet_until = 0.0

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Handle the exceptions of `loop`, unless it has a handler."""
        if loop.get_exception_handler() is None:
            loop.set_exception_handler(self.report)

    def detach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Stop handling the exceptions of `loop`."""
        if loop.get_exception_handler() == self.report:
            loop.set_exception_handler(None)

    def report(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Report an error on `loop`, in one line if a connection could not be accepted."""
        error = context.get("exception")
        if "socket" not in context or not isinstance(error, OSError) or error.errno not in _EXHAUSTED:
            loop.default_exception_handler(context)
            return
        if loop.time() >= self._quiet_until:
            log.error("no connection can be accepted: %s", error.strerror)
        self._quiet_until = loop.time() + QUIET_SECONDS
