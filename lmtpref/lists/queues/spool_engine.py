"""The engine `maildir:`, a spool of Maildirs."""

from __future__ import annotations

from collections.abc import Iterator

from lmtpref.lists.queues.group_commit import MAX_PENDING_ENTRIES
from lmtpref.lists.queues.interface import QueueEngine, QueueOptions
from lmtpref.lists.queues.maildir_queues import MaildirQueues
from lmtpref.lists.queues.spool import Spool, Stored
from lmtpref.lists.queues.spool_source import SpoolSource
from lmtpref.protocol.errors import UsageError


class SpoolStore:
    """All queues of a spool."""

    def __init__(self, url: str) -> None:
        self._spool = Spool(_folder(url))

    def counts(self) -> dict[str, int]:
        """Return the number of entries in each queue."""
        return {name: len(queue) for name, queue in self._spool.items()}

    def stored(self) -> Iterator[Stored]:
        """Return the entries, queue by queue, oldest first."""
        for queue in self._spool.values():
            yield from queue.stored()

    def find(self, identifier: str) -> Stored:
        """Return the entry of that name.

        Raises KeyError: if no entry has it.
        """
        return self._spool.find(identifier)

    def close(self) -> None:
        """Do nothing: no connection or file is open."""


def _folder(url: str) -> str:
    """Return the folder that `url` names.

    Raises UsageError: if it names no folder, for example because the variable in `maildir:$SPOOL` is not set.
    """
    folder = url.removeprefix("maildir:").removeprefix("//")
    if not folder:
        raise UsageError(f"{url} names no folder")
    return folder


def _queues(url: str, options: QueueOptions) -> MaildirQueues:
    return MaildirQueues(_folder(url), max_pending=options.max_pending or MAX_PENDING_ENTRIES)


def _source(url: str, queue: str, _lease_seconds: float, _prefetch: int) -> SpoolSource:
    return SpoolSource(_folder(url), queue)


ENGINE = QueueEngine(queues=_queues, store=SpoolStore, source=_source)
