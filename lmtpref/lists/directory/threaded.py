"""An asynchronous directory that runs a blocking one in threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeVar

from lmtpref.lists.directory.daemon_executor import Threads
from lmtpref.lists.mailinglist import DirectoryError, Lookup, MailingList
from lmtpref.protocol.syntax import Path

# The defaults of the settings.  Postfix waits 300 s for the reply to RCPT (lmtp_rcpt_timeout).
WAIT_SECONDS = 5.0
CONNECTIONS = 4

T = TypeVar("T")


class BlockingDirectory(Protocol):
    """A `ListDirectory` that works in the caller's thread and may be called from several threads."""

    def look_up(self, recipient: Path, sender: Path | None) -> Lookup:
        """Look up `recipient`, and the standing of `sender` at that list."""

    def find(self, address: str | Path) -> MailingList | None:
        """Return the list with the posting address `address`; None without one."""

    def close(self) -> None:
        """Release the connections."""


class ThreadedDirectory:
    """`lists` for an event loop: a few threads ask it, each for at most `wait_seconds`.

    Other connections of the server continue meanwhile.  The awaitables raise DirectoryError if the directory is down, too
    slow, or has unreadable data.
    """

    def __init__(self, lists: BlockingDirectory, *, wait_seconds: float = WAIT_SECONDS, connections: int = CONNECTIONS) -> None:
        self.lists = lists
        self.wait_seconds = wait_seconds
        self._threads = Threads(connections)

    async def look_up(self, recipient: Path, sender: Path | None) -> Lookup:
        """Look up `recipient`, and the standing of `sender` at that list."""
        return await self._ask(self.lists.look_up, recipient, sender)

    async def find(self, address: str | Path) -> MailingList | None:
        """Return the list with the posting address `address`, without its members; None without one."""
        return await self._ask(self.lists.find, address)

    def close(self) -> None:
        """Accept no more questions; earlier ones are still answered."""
        self._threads.close()
        self.lists.close()

    async def _ask(self, question: Callable[..., T], *arguments: object) -> T:
        try:
            async with asyncio.timeout(self.wait_seconds):
                return await asyncio.wrap_future(self._threads.submit(question, *arguments))
        except TimeoutError:
            raise DirectoryError(f"no answer within {self.wait_seconds:g} s") from None
