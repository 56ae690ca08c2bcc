"""The engines `sqlite:` and `postgresql:`."""

from __future__ import annotations

from lmtpref.lists.queues.interface import QueueEngine
from lmtpref.lists.queues.sql.queues import SqlQueues
from lmtpref.lists.queues.sql.source import SqlSource
from lmtpref.lists.queues.sql.store import SqlStore

ENGINE = QueueEngine(queues=SqlQueues, store=SqlStore, source=SqlSource)
