"""Names of entries, unique in all processes, which sort in the order of their creation."""

from __future__ import annotations

import os
import threading
import time


class Names:
    """A generator of names of 30 hexadecimal characters: microseconds since 1970, then a number unique to the process."""

    def __init__(self) -> None:
        self._own = os.urandom(8).hex()
        self._last = 0
        self._drawing = threading.Lock()

    def next(self) -> str:
        """Return a name greater than every earlier one of this process."""
        with self._drawing:
            self._last = max(self._last + 1, time.time_ns() // 1000)
            return f"{self._last:014x}{self._own}"


def drawn_at(name: str) -> float:
    """Return the time at which a name was created, in seconds since 1970."""
    return int(name[:14], 16) / 1_000_000
