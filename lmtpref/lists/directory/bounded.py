"""Asking a directory, which may fail, or take its time: a bounded wait, and always an answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar, cast

from lmtpref.lists.mailinglist import DirectoryError, Lookup, Maybe

T = TypeVar("T")
P = ParamSpec("P")

NO_ANSWER = Lookup(down=True)

log = logging.getLogger(__name__)


def ask(seconds: float, question: Callable[P, Maybe[T]], *about: P.args, **named: P.kwargs) -> Maybe[T | Lookup]:
    """What the directory says to `question`, or a promise of it; NO_ANSWER where it raises, or takes more than `seconds`.

    A failure is logged.
    """
    try:
        answer = question(*about, **named)
    except DirectoryError as error:
        log.error("the directory failed: %s", error)  # noqa: TRY400 - it says what there is to say
        return NO_ANSWER
    except Exception:
        log.exception("the directory failed")
        return NO_ANSWER
    return _wait(cast(Awaitable[T], answer), seconds) if hasattr(answer, "__await__") else answer


async def _wait(answer: Awaitable[T], seconds: float) -> T | Lookup:
    try:
        if _in_loop():
            async with asyncio.timeout(seconds):
                return await answer
        return await answer
    except DirectoryError as error:
        log.error("the directory failed: %s", error)  # noqa: TRY400 - it says what there is to say
    except TimeoutError:
        log.error("the directory did not answer within %g s", seconds)  # noqa: TRY400 - where it waited does not matter
    except Exception:
        log.exception("the directory failed")
    return NO_ANSWER


def _in_loop() -> bool:
    """Whether there is a loop to keep time; a `MemoryWire` has none, and nothing to wait for."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
