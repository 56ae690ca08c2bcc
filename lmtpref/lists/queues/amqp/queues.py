"""Queues in RabbitMQ, in which an entry is stored when the broker has confirmed it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, Self

from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import ChannelPreconditionFailed

from lmtpref.lists.queues.amqp.broker import PREFIX, QUEUED, connect, counts, declare, drop, error_of, is_missing, limit_octets
from lmtpref.lists.queues.duplicates import duplicate_key, has_received
from lmtpref.lists.queues.entry_json import CONTENT_TYPE, entry_to_json
from lmtpref.lists.queues.group_commit import MAX_PENDING_ENTRIES, Commit, Committer
from lmtpref.lists.queues.interface import QueueOptions, QueueUnreachableError, is_outage
from lmtpref.lists.queues.loop_thread import LoopThread
from lmtpref.lists.queues.memory import Entry
from lmtpref.lists.queues.names import Names
from lmtpref.lists.queues.outage import Outage
from lmtpref.lists.queues.registry import open_queues
from lmtpref.lists.queues.url import masked, resolve, scheme_of
from lmtpref.protocol.errors import UsageError

CLOSE_SECONDS = 10.0  # the time that `aclose` waits for the broker


class AmqpQueues:
    """Queues in RabbitMQ; `hold` and `discard` are in the engine that `options.held` names."""

    def __init__(self, url: str, options: QueueOptions) -> None:
        if not options.held:
            raise UsageError(f"{masked(url)}: `held` must name the engine for what is held or discarded, because AMQP cannot list entries")
        self._url = url
        self._name = masked(url)
        self._seconds = options.timeout_seconds
        if scheme_of(resolve(options.held)) == "memory":
            raise UsageError(f"{masked(url)}: `held` must not be memory:, because held messages would be lost when this process ends")
        self._held = open_queues(options.held, replace(options, held=None))
        self._names = Names()
        self._outage = Outage(self._name)
        self._thread = LoopThread("lmtpref-amqp")
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None
        self._limit: int | None = None
        self._committer: Committer[Commit] = Committer(
            self._commit,
            max_pending=options.max_pending or MAX_PENDING_ENTRIES,
            timeout_seconds=options.timeout_seconds,
            interrupt=self._interrupt,
        )

    @property
    def max_message_octets(self) -> int | None:
        """The size of the largest message that both engines accept."""
        limits = [limit for limit in (self._limit, self._held.max_message_octets) if limit is not None]
        return min(limits, default=None)

    async def open(self) -> None:
        """Connect to the broker, and create the queues that are missing."""
        await self._held.open()
        await asyncio.to_thread(self._thread.run, self._connected())

    def put(self, entry: Entry) -> asyncio.Future[None] | None:
        """Store `entry` in its queue: in the background if an event loop runs, else before the method returns.

        Raises OSError, from the method or from the future: if the entry could not be stored.
        """
        if entry.queue not in QUEUED:
            return self._held.put(entry)  # type: ignore[return-value]
        commit = Commit(entry)
        return self._committer.put(commit)

    async def counts(self) -> dict[str, int]:
        """Return the number of entries in each queue.

        Raises OSError: if an engine does not answer.
        """
        held = await self._held.counts()
        return dict(held) | await counts(self._url, self._seconds)

    async def aclose(self) -> bool:
        """Accept no more entries and wait for the waiting ones; return whether all are stored."""
        done = await asyncio.to_thread(self._close)
        return await self._held.aclose() and done

    def _close(self) -> bool:
        done = self._committer.close(CLOSE_SECONDS)
        if self._connection:
            with contextlib.suppress(TimeoutError):
                self._thread.run(drop(self._connection))
        self._thread.close()
        return done

    def _interrupt(self) -> None:
        self._outage.began(TimeoutError(f"{self._name}: it did not answer in time"))
        self._thread.interrupt()

    def _commit(self, batch: list[Commit]) -> None:
        try:
            self._thread.run(self._store(batch))
        except UsageError as error:
            self._fail(batch, QueueUnreachableError(str(error)))
        except OSError as error:
            self._fail(batch, error_of(error, self._name) if isinstance(error, TimeoutError) else error)
        outages = [commit.error for commit in batch if isinstance(commit.error, OSError) and is_outage(commit.error)]
        if outages:
            self._outage.began(outages[0])
        else:
            self._outage.ended()

    def _fail(self, batch: Sequence[Commit], error: OSError) -> None:
        self._channel = None  # `_connected` closes its connection
        for commit in batch:
            commit.error = commit.error or error

    async def _store(self, batch: list[Commit]) -> None:
        """Publish a batch; if the connection was dead, publish the unconfirmed entries on a new one."""
        reused = self._channel is not None
        failed = await self._publish(await self._connected(), [commit for commit in batch if not commit.abandoned])
        if failed and any(isinstance(error, ChannelPreconditionFailed) for _, error in failed):
            # RabbitMQ closes the channel if a message is too large, and does not say which one, so each is published alone.
            failed = [one for commit, _ in failed for one in await self._publish(await self._connected(), [commit])]
        elif failed and reused and self._channel is None:
            failed = await self._publish(await self._connected(), [commit for commit, _ in failed])
        for commit, error in failed:
            commit.error = error_of(error, self._name)

    async def _publish(self, channel: AbstractChannel, batch: Sequence[Commit]) -> list[tuple[Commit, BaseException]]:
        """Publish a batch and wait for the confirms; return the unconfirmed entries with their errors."""
        contents: dict[int, _Content] = {}
        for commit in batch:
            content = commit.entry.content
            if id(content) not in contents:
                contents[id(content)] = _Content.of(content)
        sending = (self._send(channel, commit.entry, contents[id(commit.entry.content)]) for commit in batch)
        results = await asyncio.gather(*sending, return_exceptions=True)
        failed = [(commit, result) for commit, result in zip(batch, results, strict=True) if isinstance(result, BaseException)]
        # A queue that was deleted is declared again with a new connection.
        if channel.is_closed or any(is_missing(error) for _, error in failed):
            self._channel = None
        return failed

    async def _send(self, channel: AbstractChannel, entry: Entry, content: _Content) -> None:
        if self._limit is not None and len(entry.content) > self._limit:
            raise OSError(errno.EMSGSIZE, f"{self._name}: larger than the broker accepts")
        body = entry_to_json(entry, content.base64)
        name = duplicate_key(entry, content.digest) if content.digest else self._names.next()
        message = Message(body, content_type=CONTENT_TYPE, delivery_mode=DeliveryMode.PERSISTENT, message_id=name)
        await channel.default_exchange.publish(message, PREFIX + entry.queue, mandatory=True)

    async def _connected(self) -> AbstractChannel:
        """Return the channel, opened again if it was closed; aio-pika's robust connection would fail for seconds after an outage."""
        if self._channel is not None and not self._channel.is_closed and self._connection and not self._connection.is_closed:
            return self._channel
        if self._connection:
            await drop(self._connection)
            self._connection = None
        self._connection = await connect(self._url, self._seconds)
        self._limit = limit_octets(self._connection)
        self._channel = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
        await declare(self._channel, self._name)
        return self._channel


class _Content(NamedTuple):
    """The data that the entries of one message share: the content in base64, and its digest if it has a Received field.

    From the digest follows a message id that duplicates share, so that a consumer can drop them.
    """

    base64: bytes
    digest: bytes | None

    @classmethod
    def of(cls, content: bytes) -> Self:
        """Encode a content, once for all its recipients."""
        return cls(b64encode(content), hashlib.sha256(content).digest() if has_received(content) else None)
