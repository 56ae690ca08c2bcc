"""Exceptions raised by a hook whose reply can no longer be sent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable

from lmtpref.net.context import ServerContext
from lmtpref.protocol.events import Event
from lmtpref.protocol.handler import Handler
from lmtpref.protocol.replies import Reply

log = logging.getLogger(__name__)

# These exceptions stop the server.  Any other one, pytest.fail()'s included, fails one command or one recipient.
ENDS_SERVER = (SystemExit, KeyboardInterrupt)


def ask_without_reply(event: Event, handler: Handler, context: ServerContext) -> None:
    """Call a hook whose reply will never be sent."""
    try:
        answer = event.outcome(handler)
    except BaseException as error:
        _log(event, error, context)
        return
    if answer is not None and not isinstance(answer, Reply):
        task = asyncio.get_running_loop().create_task(_logged(event, answer, context))
        context.cleanup_tasks.add(task)
        task.add_done_callback(context.cleanup_tasks.discard)


def end_server(error: BaseException, context: ServerContext) -> None:
    """Let the running event loop raise `error`, so that the server's owner stops it; ignore it if the server is stopping already."""
    if not context.stopping:
        context.stopping = True
        asyncio.get_running_loop().call_soon(_raise, error)


async def _logged(event: Event, answer: Awaitable[Reply | None], context: ServerContext) -> None:
    try:
        await answer
    except (asyncio.CancelledError, GeneratorExit):
        raise
    except BaseException as error:
        _log(event, error, context)


def _log(event: Event, error: BaseException, context: ServerContext) -> None:
    log.error("the %s hook failed", event.hook, exc_info=error)
    if isinstance(error, ENDS_SERVER):
        end_server(error, context)


def _raise(error: BaseException) -> None:
    raise error
