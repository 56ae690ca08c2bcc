"""Look-ups with a time limit, which return an answer instead of raising an exception."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar, TypeVarTuple

from lmtpref.lists.mailinglist import DirectoryError, Lookup, MailingList
from lmtpref.protocol.maybe import Maybe

T = TypeVar("T", Lookup, MailingList | None)
About = TypeVarTuple("About")

NO_ANSWER = Lookup(down=True)
# The immediate answers of a directory, besides None.
ANSWERS = (Lookup, MailingList)

log = logging.getLogger(__name__)


def ask(seconds: float, question: Callable[[*About], Maybe[T]], *about: *About) -> Maybe[T | Lookup]:
    """Return the directory's answer to `question`, or an awaitable of it.

    The answer is NO_ANSWER if the directory raises an exception or takes more than `seconds`; both are logged.
    """
    try:
        answer = question(*about)
    except DirectoryError as error:
        log.error("the directory failed: %s", error)  # noqa: TRY400 - it says what there is to say
        return NO_ANSWER
    except Exception:
        log.exception("the directory failed")
        return NO_ANSWER
    return answer if answer is None or isinstance(answer, ANSWERS) else _wait(answer, seconds)


async def _wait(answer: Awaitable[T], seconds: float) -> T | Lookup:
    try:
        if _in_loop():
            async with asyncio.timeout(seconds):
                return await answer
        return await answer
    except DirectoryError as error:
        log.error("the directory failed: %s", error)  # noqa: TRY400 - it says what there is to say
    except TimeoutError:
        log.error("the directory did not answer within %g s", seconds)  # noqa: TRY400 - the traceback would not help
    except Exception:
        log.exception("the directory failed")
    return NO_ANSWER


def _in_loop() -> bool:
    """Return whether an event loop runs that can measure time; a `MemoryWire` has none, and never waits."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
