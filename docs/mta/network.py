"""Two machines, as far as a network goes: two network namespaces with a cable between them."""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from debian import SEARCH, MissingToolError, run, unpacked
from harness import Page, Process

T = TypeVar("T")

_CLONE_NEWNET = 0x40000000  # linux/sched.h


class Namespace:
    """A network namespace with loopback and one end of the cable only."""

    def __init__(self, page: Page) -> None:
        self._holder = Process("unshare", "--net", "sh", "-c", "echo $$; exec sleep infinity")
        page.callback(self._holder.stop)
        self.pid = self._holder.line()
        if not self.pid.isdecimal():
            raise MissingToolError(f"no network namespace can be had: {self.pid}")
        self.into = ("nsenter", f"--net=/proc/{self.pid}/ns/net")  # what a command begins with to run in here

    def do(self, function: Callable[..., T], *arguments: object, **keywords: object) -> T:
        """Return the function's result from a thread in this namespace."""
        with ThreadPoolExecutor(1, initializer=self._enter) as thread:
            return thread.submit(function, *arguments, **keywords).result()

    def _enter(self) -> None:
        with Path(f"/proc/{self.pid}/ns/net").open() as namespace:
            if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def join(one: Namespace, other: Namespace, addresses: tuple[list[str], list[str]]) -> None:
    """Lay the cable, and give each end its addresses, with the lengths of their prefixes."""
    _ip("link", "add", "cable", "netns", one.pid, "type", "veth", "peer", "name", "cable", "netns", other.pid)
    for namespace, own in zip((one, other), addresses, strict=True):
        _ip("link", "set", "lo", "up", into=namespace.into)
        for address in own:
            _ip("address", "add", address, "dev", "cable", into=namespace.into)
        _ip("link", "set", "cable", "up", into=namespace.into)


def _ip(*words: str, into: Sequence[str] = ()) -> None:
    """Run `ip`, the machine's own or, as containers have none, an unpacked one."""
    if program := shutil.which("ip", path=SEARCH):
        run(*into, program, *words)
    else:
        tree = unpacked("iproute2")
        run(*into, next(tree.root.glob("*bin/ip")), *words, environment=tree.environment)
