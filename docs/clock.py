"""An event loop for examples about time: its clock jumps to the next timer, so no example depends on the speed of the machine."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

# How long the loop still looks for octets that the kernel is handing over, before the clock jumps.
SETTLING_SECONDS = 0.01
Result = TypeVar("Result")


class JumpingSelector(selectors.DefaultSelector):
    """A selector that keeps its own clock, and moves it forward instead of waiting for a timer."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return the files that are ready; if none is, let `timeout` seconds pass on the clock.

        Without a timer (`timeout` is None) there is nothing to jump to, so this waits for a file.
        """
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        ready = super().select(SETTLING_SECONDS)
        if not ready:
            self.now += timeout
        return ready


class Clock(asyncio.SelectorEventLoop):
    """An event loop on whose clock time passes only while every task and every client waits."""

    def __init__(self) -> None:
        self._jumping = JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return the seconds that have passed on this clock."""
        return self._jumping.now


def run(main: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    """Run `main` on a loop with such a clock, and return its result."""
    with asyncio.Runner(loop_factory=Clock) as runner:
        return runner.run(main())
