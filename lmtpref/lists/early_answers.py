"""Futures of answers, for recipients that are started before their turn."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from lmtpref.protocol.handler import Answer
from lmtpref.protocol.replies import Reply


def begin_early(begin: Callable[..., Answer], *arguments: object) -> asyncio.Future[Reply | None] | None:
    """Call `begin` before the recipient's turn; return the future of its answer, or None if the answer is known.

    An exception is raised again when the future is waited for.
    """
    try:
        answer = begin(*arguments)
    except Exception as error:  # noqa: BLE001 - see above
        failed: asyncio.Future[Reply | None] = asyncio.get_running_loop().create_future()
        failed.set_exception(error)
        return failed
    return asyncio.ensure_future(answer) if isinstance(answer, Awaitable) else None


def answer_after(work: Awaitable[None], answer: Callable[[asyncio.Future[None]], Reply | None]) -> Awaitable[Reply | None]:
    """Return what `answer` will return or raise when `work` is done; cancelling it cancels `work`."""
    return _after(work, answer) if isinstance(work, asyncio.Future) else _later(work, answer)


async def _later(work: Awaitable[None], answer: Callable[[asyncio.Future[None]], Reply | None]) -> Reply | None:
    return await _after(asyncio.ensure_future(work), answer)


def _after(work: asyncio.Future[None], answer: Callable[[asyncio.Future[None]], Reply | None]) -> asyncio.Future[Reply | None]:
    # Two callbacks take less time than a task, and a message may have hundreds of recipients.
    known: asyncio.Future[Reply | None] = work.get_loop().create_future()

    def settle(_: object) -> None:
        if known.cancelled():
            return
        try:
            known.set_result(answer(work))
        except BaseException as error:  # noqa: BLE001 - raised where the answer is waited for
            known.set_exception(error)

    work.add_done_callback(settle)
    known.add_done_callback(lambda _: work.cancel())
    return known
