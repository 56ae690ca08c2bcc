"""Our log in Mailman's smtp.log, with a line for each message."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from email.parser import BytesHeaderParser
from logging.handlers import QueueHandler, QueueListener
from queue import SimpleQueue

from lmtpref.lists.policy.default import Decision
from lmtpref.lists.policy.facts import Facts
from lmtpref.net.transaction_record import TransactionRecord
from lmtpref.protocol.printable import printable

MAX_HEADER_OCTETS = 65_536

log = logging.getLogger(__name__)


@contextmanager
def logging_to_mailman() -> Iterator[None]:
    """Log to the handlers of `mailman.smtp`, at its level, from a separate thread, so that a slow disk stops no conversation."""
    ours, theirs = logging.getLogger("lmtpref"), logging.getLogger("mailman.smtp")
    records: SimpleQueue[logging.LogRecord] = SimpleQueue()
    ours.setLevel(theirs.level)
    ours.propagate = theirs.propagate
    ours.addHandler(handler := QueueHandler(records))
    listener = QueueListener(records, *theirs.handlers)
    listener.start()
    try:
        yield
    finally:
        listener.stop()
        ours.removeHandler(handler)


class MessageLog:
    """A journal that logs one line for each transaction that had a message or a rejected recipient."""

    def decided(self, decision: Decision, facts: Facts) -> None:
        """Do nothing: the decisions are Mailman's."""

    def ended(self, record: TransactionRecord) -> None:
        """Log the transaction."""
        outcomes = [f"{attempt.address}: {attempt.final or attempt.rcpt}" for attempt in record.recipients]
        if record.omitted:
            outcomes.append(f"and {record.omitted} more")
        log.info("%s from <%s>: %s", printable(_message_id(record.content)), printable(record.sender), printable("; ".join(outcomes)))


def _message_id(content: bytes) -> str:
    """Return the Message-ID of a message; a hyphen if it has none."""
    return str(BytesHeaderParser().parsebytes(content[:MAX_HEADER_OCTETS]).get("message-id", "-"))
