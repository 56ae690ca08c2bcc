"""Deadlines: when a connection is closed because its client makes no progress."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from lmtpref.protocol.catalogue import IDLE_421, NO_MESSAGE_421, TOO_SLOW_421
from lmtpref.protocol.replies import Reply
from lmtpref.protocol.server_limits import Limits


@dataclass(slots=True)
class Deadlines:
    """The starting points of the time limits, in seconds of the loop's clock.

    `progress`: when the client last sent a whole command or an octet of a message.  `message`: when its last message was answered,
    or when it connected.  `transaction`: when MAIL opened the transaction.
    """

    progress: float
    message: float
    transaction: float = inf

    def extend(self, began: float, now: float) -> None:
        """Exclude the time from `began` to `now`, which the server used."""
        self.progress = now
        self.message += now - began
        self.transaction += now - began

    def next(self, limits: Limits, *, in_transaction: bool) -> tuple[float, Reply]:
        """Return the next deadline, and the reply that closes the connection then."""
        deadlines = [(self.progress + limits.idle_seconds, IDLE_421), (self.message + limits.no_message_seconds, NO_MESSAGE_421)]
        if in_transaction:
            deadlines.append((self.transaction + limits.transaction_seconds, TOO_SLOW_421))
        return min(deadlines, key=lambda deadline: deadline[0])
