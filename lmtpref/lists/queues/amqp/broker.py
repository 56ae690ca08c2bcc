"""Connections to RabbitMQ, the declaration of its queues, and the translation of its errors."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import re
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import (
    AMQPError,
    ChannelPreconditionFailed,
    DeliveryError,
    ProbableAuthenticationError,
)
from aiormq.exceptions import ChannelAccessRefused, IncompatibleProtocolError
from pamqp.commands import Basic

from lmtpref.lists.queues.interface import QueueUnreachableError
from lmtpref.lists.queues.url import masked
from lmtpref.protocol.errors import UsageError

PREFIX = "lmtpref."  # of the names of queues
# People browse `hold` and `discard`, so these are in another engine.
QUEUED = ("in", "bounces", "command")
# RabbitMQ moves the entries that a consumer rejects to this queue.
DEAD = "dead"

# The default of RabbitMQ's `max_message_size`, which a client cannot query: 128 MiB, and 16 MiB since version 4.
LIMIT_OCTETS = 134_217_728
LIMIT_SINCE_4_OCTETS = 16_777_216
CLOSE_SECONDS = 1  # the time for the broker's answer to the end of a connection
ENVELOPE_OCTETS = 262_144  # room for the JSON around the content

AMQP_DEAD_ARGUMENTS = {"x-queue-type": "quorum", "x-overflow": "reject-publish"}
AMQP_QUEUE_ARGUMENTS = {
    **AMQP_DEAD_ARGUMENTS,
    "x-dead-letter-exchange": "",
    "x-dead-letter-routing-key": PREFIX + DEAD,
    "x-dead-letter-strategy": "at-least-once",
}


# The log needs only the line of `Outage` for a lost connection, not the tracebacks of these libraries.
for _name in ("aiormq", "aio_pika"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)


async def connect(url: str, seconds: float) -> AbstractConnection:
    """Connect to the broker.

    Raises UsageError: if the broker rejects the connection, or the URL is invalid.
    Raises QueueUnreachableError: if the broker is unreachable.
    """
    name = masked(url)
    try:
        return await _connected(aio_pika.Connection(aio_pika.connection.make_url(url)), seconds)
    except ProbableAuthenticationError:
        raise UsageError(f"{name}: the broker refuses the user or the password") from None
    except IncompatibleProtocolError as error:
        raise UsageError(f"{name}: {problem_of(error)}") from None
    except (AMQPError, OSError) as error:
        raise QueueUnreachableError(f"{name}: {problem_of(error)}") from None
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from None


async def _connected(connection: AbstractConnection, seconds: float) -> AbstractConnection:
    try:
        await asyncio.wait_for(connection.connect(timeout=seconds), seconds)
    except BaseException:
        await drop(connection)
        raise
    return connection


async def declare(channel: AbstractChannel, name: str) -> None:
    """Create the queues that are missing.

    Raises UsageError: if a queue exists with other arguments; QueueUnreachableError: if the broker fails.
    """
    try:
        await channel.declare_queue(PREFIX + DEAD, durable=True, arguments=dict(AMQP_DEAD_ARGUMENTS))
        for queue in QUEUED:
            await channel.declare_queue(PREFIX + queue, durable=True, arguments=dict(AMQP_QUEUE_ARGUMENTS))
    except (ChannelPreconditionFailed, ChannelAccessRefused) as error:
        raise UsageError(f"{name}: {problem_of(error)}") from None
    except AMQPError as error:
        raise QueueUnreachableError(f"{name}: {problem_of(error)}") from None


async def counts(url: str, seconds: float) -> dict[str, int]:
    """Return the number of entries in each queue, without those that a consumer has claimed.

    Raises OSError: if the broker does not answer.
    """
    connection = await connect(url, seconds)
    try:
        async with asyncio.timeout(seconds):
            channel = await connection.channel()
            await declare(channel, masked(url))
            found = {}
            for queue in (*QUEUED, DEAD):
                declared = await channel.declare_queue(PREFIX + queue, passive=True)
                found[queue] = declared.declaration_result.message_count or 0
            return found
    except AMQPError as error:
        raise QueueUnreachableError(f"{masked(url)}: {problem_of(error)}") from None
    finally:
        await drop(connection)


def limit_octets(connection: AbstractConnection) -> int:
    """Return the size of the largest message whose JSON the broker accepts."""
    properties: Any = getattr(getattr(connection, "transport", None), "connection", None)
    version = str((getattr(properties, "server_properties", None) or {}).get("version", "0"))
    major = re.match(r"\d{1,4}", version, re.ASCII)
    since_4 = major is not None and int(major[0]) >= 4
    return ((LIMIT_SINCE_4_OCTETS if since_4 else LIMIT_OCTETS) - ENVELOPE_OCTETS) // 4 * 3


async def drop(connection: AbstractConnection) -> None:
    """Close a connection and ignore errors.

    aio-pika counts a connection as open if `close` was interrupted, and closes it again when it is deleted, in any thread.
    The second call has nothing left to wait for, and ends that.
    """
    for _ in range(2):
        with contextlib.suppress(AMQPError, OSError, RuntimeError):
            await asyncio.wait_for(connection.close(), CLOSE_SECONDS)


def error_of(error: BaseException, name: str) -> OSError:
    """Return the OSError for an entry that the broker did not confirm."""
    if is_missing(error):
        return QueueUnreachableError(f"{name}: there is no such queue")
    if isinstance(error, DeliveryError):
        return OSError(errno.ENOSPC, f"{name}: the queue is full")
    if isinstance(error, ChannelPreconditionFailed):
        return OSError(errno.EMSGSIZE, f"{name}: {problem_of(error)}")
    if isinstance(error, TimeoutError):
        return TimeoutError(errno.ETIMEDOUT, f"{name}: it did not answer in time")
    return QueueUnreachableError(f"{name}: {problem_of(error)}")


def is_missing(error: BaseException) -> bool:
    """Return whether the broker returned a message because its queue does not exist."""
    return isinstance(error, DeliveryError) and not isinstance(error.frame, Basic.Nack)


def problem_of(error: BaseException) -> str:
    """Return one line of the error message of the broker or the system."""
    # aiormq puts a text of its own before the broker's message.
    text = str(error.args[-1] if error.args else error).strip()
    return text.splitlines()[0] if text else type(error).__name__
