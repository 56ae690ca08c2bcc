"""Log records that name their connection, so that the lines of one conversation can be found."""

from __future__ import annotations

import logging
from contextvars import ContextVar

# The number of the current conversation's connection; hooks and the tasks that they start inherit it.
CURRENT_CONNECTION: ContextVar[int | None] = ContextVar("lmtpref_connection", default=None)


class ConnectionFilter(logging.Filter):
    """A filter for a logging handler: it sets the attribute `connection` of each record, a number, or None outside conversations."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Set the attribute; every record passes."""
        record.connection = CURRENT_CONNECTION.get()
        return True
