"""One queue in RabbitMQ for one consumer; when the connection ends, the broker returns unacknowledged entries to the queue."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from aio_pika.abc import AbstractIncomingMessage
from aio_pika.exceptions import AMQPError

from lmtpref.lists.queues.amqp.broker import DEAD, PREFIX, QUEUED, connect, declare, drop, error_of
from lmtpref.lists.queues.entry_file import DamagedEntryError
from lmtpref.lists.queues.entry_json import entry_from_json
from lmtpref.lists.queues.interface import TIMEOUT_SECONDS, ClaimLostError
from lmtpref.lists.queues.loop_thread import LoopThread
from lmtpref.lists.queues.memory import Entry
from lmtpref.lists.queues.url import masked
from lmtpref.protocol.errors import UsageError

log = logging.getLogger(__name__)

# The broker's time to push an entry, before the consumer asks whether the queue is empty.
MOMENT_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class AmqpClaim:
    """A message that the broker has delivered to this consumer."""

    source: AmqpSource
    message: AbstractIncomingMessage
    entry: Entry

    @property
    def id(self) -> str:
        """The message id, which duplicates share."""
        return self.message.message_id or ""

    def ack(self) -> None:
        """Remove the entry.

        Raises ClaimLostError: if the connection was lost.
        """
        self._end(self.message.ack())

    def reject(self, reason: str) -> None:  # noqa: ARG002 - AMQP has no place for it
        """Move the entry to the dead-letter queue, `lmtpref.dead`.

        Raises ClaimLostError: if the connection was lost.
        """
        self._end(self.message.reject(requeue=False))

    def release(self) -> None:
        """Return the entry to its queue."""
        try:
            self._end(self.message.reject(requeue=True))
        except ClaimLostError:
            return

    def _end(self, frame: asyncio.Future[None] | object) -> None:
        self.source.claimed -= 1
        try:
            self.source.thread.run(frame)  # type: ignore[arg-type]
        except (AMQPError, OSError, RuntimeError) as error:
            raise ClaimLostError(self.id) from error


class AmqpSource:
    """One queue in RabbitMQ.  The broker delivers up to `prefetch` messages ahead."""

    def __init__(self, url: str, queue: str, _lease_seconds: float, prefetch: int) -> None:
        if queue not in QUEUED:
            raise UsageError(f"{masked(url)}: no queue {queue!r} there; there are {', '.join(QUEUED)}")
        self._url = url
        self.thread = LoopThread("lmtpref-consumer")
        self._queue = PREFIX + queue
        self._prefetch = prefetch
        self.claimed = 0  # messages that this consumer has and has not ended
        self.thread.run(self._open())

    def next(self, seconds: float) -> AmqpClaim | None:
        """Claim and return the next entry; return None if no entry comes within `seconds`.

        Raises QueueUnreachableError: if the connection was lost.
        """
        while message := self.thread.run(self._next(seconds)):
            try:
                return AmqpClaim(self, message, entry_from_json(message.body))
            except DamagedEntryError as error:
                self.claimed -= 1
                self.thread.run(self._bury(message, error))
        return None

    def close(self) -> None:
        """Return every entry whose claim has not ended to the queue."""
        self.thread.run(drop(self._connection))
        self.thread.close()

    async def _open(self) -> None:
        self._connection = await connect(self._url, TIMEOUT_SECONDS)
        self._channel = await self._connection.channel()
        await self._channel.set_qos(prefetch_count=self._prefetch)
        await declare(self._channel, masked(self._url))
        self._messages: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
        declared = await self._channel.declare_queue(self._queue, passive=True)
        await declared.consume(self._messages.put)

    async def _next(self, seconds: float) -> AbstractIncomingMessage | None:
        end = asyncio.get_running_loop().time() + seconds
        while True:
            # The broker has returned the messages that wait here to the queue.
            if self._channel.is_closed:
                raise error_of(ConnectionError("the connection was lost"), masked(self._url))
            rest = end - asyncio.get_running_loop().time()
            try:
                message = await asyncio.wait_for(self._messages.get(), max(rest, MOMENT_SECONDS))
            except TimeoutError:
                # The broker pushes at its own pace: the queue is empty when it says so, and not when nothing has come.
                if rest <= 0 and (self._is_full() or not await self._ready()):
                    return None
            else:
                self.claimed += 1
                return message

    async def _bury(self, message: AbstractIncomingMessage, damage: DamagedEntryError) -> None:
        """Move a damaged entry to the dead-letter queue."""
        log.error("entry %s is damaged, and is kept in %s: %s", message.message_id, PREFIX + DEAD, damage)
        try:
            await message.reject(requeue=False)
        except (AMQPError, OSError, RuntimeError) as error:
            raise error_of(error, masked(self._url)) from None

    def _is_full(self) -> bool:
        """Whether this consumer has all that the broker delivers ahead of acknowledgements."""
        return self.claimed >= self._prefetch

    async def _ready(self) -> bool:
        """Whether entries wait that no consumer has."""
        try:
            declared = await self._channel.declare_queue(self._queue, passive=True)
        except (AMQPError, RuntimeError) as error:
            raise error_of(error, masked(self._url)) from None
        return bool(declared.declaration_result.message_count)
