"""The engines `amqp:` and `amqps:`."""

from __future__ import annotations

import contextlib
from typing import NoReturn

from lmtpref.lists.queues.amqp.broker import counts
from lmtpref.lists.queues.amqp.queues import AmqpQueues
from lmtpref.lists.queues.amqp.source import AmqpSource
from lmtpref.lists.queues.interface import TIMEOUT_SECONDS, QueueEngine
from lmtpref.lists.queues.loop_thread import LoopThread
from lmtpref.lists.queues.url import masked
from lmtpref.protocol.errors import UsageError


class AmqpStore:
    """All queues of a broker, whose entries can be counted but not listed."""

    def __init__(self, url: str) -> None:
        self._url = url

    def counts(self) -> dict[str, int]:
        """Return the number of entries in each queue."""
        with contextlib.closing(LoopThread("lmtpref-counts")) as thread:
            return thread.run(counts(self._url, TIMEOUT_SECONDS))

    def stored(self) -> NoReturn:
        """Raise UsageError, because AMQP cannot list entries."""
        raise UsageError(f"{masked(self._url)}: AMQP cannot list entries; `counts` counts them, and the engine of `held` lists its own")

    def find(self, _identifier: str) -> NoReturn:
        """Raise UsageError, because AMQP cannot find an entry."""
        self.stored()

    def close(self) -> None:
        """Do nothing: no connection is open."""


ENGINE = QueueEngine(queues=AmqpQueues, store=AmqpStore, source=AmqpSource)
