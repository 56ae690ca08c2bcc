"""The engine `memory:`, whose queues belong to one process and end with it."""

from __future__ import annotations

from typing import NoReturn

from lmtpref.lists.queues.interface import QueueEngine, QueueOptions
from lmtpref.lists.queues.memory import MemoryQueues
from lmtpref.protocol.errors import UsageError


def _queues(_url: str, _options: QueueOptions) -> MemoryQueues:
    return MemoryQueues()


def _refuse(*_: object) -> NoReturn:
    raise UsageError("memory: belongs to one process; no other process can read it")


ENGINE = QueueEngine(queues=_queues, store=_refuse, source=_refuse)
