"""Names of entries: unique in any process, and sorted in the order in which they were drawn."""

from __future__ import annotations

import os
import threading
import time


class Names:
    """Draws names of 30 characters: microseconds since 1970, then what no other process draws, all hexadecimal."""

    def __init__(self) -> None:
        self._own = os.urandom(8).hex()
        self._last = 0
        self._drawing = threading.Lock()

    def next(self) -> str:
        """Return a name that is greater than every earlier one of this process."""
        with self._drawing:
            self._last = max(self._last + 1, time.time_ns() // 1000)
            return f"{self._last:014x}{self._own}"


def drawn_at(name: str) -> float:
    """Return when a name was drawn, in seconds since 1970."""
    return int(name[:14], 16) / 1_000_000
