"""Two machines, as far as a network goes: two network namespaces with a cable between them."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from debian import run
from harness import Page, Process

T = TypeVar("T")

_CLONE_NEWNET = 0x40000000  # linux/sched.h


class Namespace:
    """A network namespace, in which nothing is but loopback and one end of the cable."""

    def __init__(self, page: Page) -> None:
        self._holder = Process("unshare", "--net", "sh", "-c", "ip link set lo up && echo $$ && exec sleep infinity")
        page.callback(self._holder.stop)
        self.pid = self._holder.line()
        self.into = ("nsenter", f"--net=/proc/{self.pid}/ns/net")  # what a command begins with to run in here

    def do(self, function: Callable[..., T], *arguments: object, **keywords: object) -> T:
        """What the function returns when its thread is in here."""
        with ThreadPoolExecutor(1, initializer=self._enter) as thread:
            return thread.submit(function, *arguments, **keywords).result()

    def _enter(self) -> None:
        with Path(f"/proc/{self.pid}/ns/net").open() as namespace:
            if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def join(one: Namespace, other: Namespace, addresses: tuple[list[str], list[str]]) -> None:
    """Lay the cable, and give each end its addresses, with the lengths of their prefixes."""
    run("ip", "link", "add", "cable", "netns", one.pid, "type", "veth", "peer", "name", "cable", "netns", other.pid)
    for namespace, own in zip((one, other), addresses, strict=True):
        for address in own:
            run(*namespace.into, "ip", "address", "add", address, "dev", "cable")
        run(*namespace.into, "ip", "link", "set", "cable", "up")
