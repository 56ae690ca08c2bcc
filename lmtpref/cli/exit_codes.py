"""Exit codes of the commands; argparse and a mistake in a file give 2."""

from __future__ import annotations

FAILED_EXIT = 1
TIMED_OUT_EXIT = 3
UNSTARTED_EXIT = 4
INTERRUPTED_EXIT = 130  # 128 + SIGINT, as shells report it
