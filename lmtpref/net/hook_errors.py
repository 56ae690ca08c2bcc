"""What becomes of an exception that a hook raises, where no reply can carry it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable

from lmtpref.protocol.conversation import Event
from lmtpref.protocol.handler import Handler
from lmtpref.protocol.replies import Reply

log = logging.getLogger(__name__)

# Raised by a hook, these end the server; any other exception, pytest.fail()'s among them, fails one command or one recipient.
ENDS_SERVER = (SystemExit, KeyboardInterrupt)


def ask_unheard(event: Event, handler: Handler, tasks: set[asyncio.Task[None]]) -> None:
    """Ask a hook whose reply will never be sent; `tasks` holds the task of one that waits, until it is done."""
    try:
        answer = event.ask(handler)
    except BaseException as error:
        _log(event, error)
        return
    if answer is not None and not isinstance(answer, Reply):
        task = asyncio.get_running_loop().create_task(_logged(event, answer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


def raise_in_loop(error: BaseException) -> None:
    """Let the running event loop raise `error` when it has its next turn."""
    asyncio.get_running_loop().call_soon(_raise, error)


async def _logged(event: Event, answer: Awaitable[Reply | None]) -> None:
    try:
        await answer
    except (asyncio.CancelledError, GeneratorExit):
        raise
    except BaseException as error:
        _log(event, error)


def _log(event: Event, error: BaseException) -> None:
    log.error("the %s hook failed", event.hook, exc_info=error)
    if isinstance(error, ENDS_SERVER):
        raise_in_loop(error)


def _raise(error: BaseException) -> None:
    raise error
