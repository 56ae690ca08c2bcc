"""Processor time of processes, including those that have ended, to the nanosecond where the kernel has it (Linux)."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def own_seconds(pid: int) -> float:
    """Processor time of a process itself, with all its threads: its clock, as clock_getcpuclockid(3) makes it."""
    return time.clock_gettime((~pid << 3) | 2)


def ended_children_seconds(pid: int) -> float:
    """Processor time of the children of a process that have ended, however short they lived (proc(5), `stat`, fields 16 and 17)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / _TICKS_PER_SECOND


def children(pid: int) -> list[int]:
    """The processes that `pid` has started, and that run (proc(5), `children`)."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def used_since(before: dict[int, float], pids: Iterable[int]) -> float:
    """Return the processor time of these processes since `before`, new processes included."""
    return sum(own_seconds(pid) - before.get(pid, 0) for pid in pids)


def started() -> int:
    """How many processes and threads the machine has started (proc(5), `/proc/stat`)."""
    [line] = [line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("processes ")]
    return int(line.split()[1])
