"""SIGHUP: read the configuration again while the server serves."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

from lmtpref.cli import maps
from lmtpref.cli.open_files import share_of
from lmtpref.cli.terminal import report
from lmtpref.config.configuration import Configuration
from lmtpref.config.loader import load
from lmtpref.net.engine import known_mtas_of
from lmtpref.net.known_mtas import KnownMtas
from lmtpref.protocol.errors import ConfigurationError, UsageError
from lmtpref.server import Server

log = logging.getLogger(__name__)


class NotedHangup:
    """A handler of SIGHUP that notes the signal in `came`, and does nothing else."""

    def __init__(self) -> None:
        self.came = False

    def __call__(self, *_: object) -> None:
        """Note the signal."""
        self.came = True


@contextlib.contextmanager
def noting_hangups() -> Iterator[None]:
    """Keep SIGHUP from ending the process in the `with` block; `on_hangup` acts on a signal that came before its own block.

    On systems without SIGHUP, and in a thread that cannot handle signals, nothing changes.
    """
    if not hasattr(signal, "SIGHUP") or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGHUP, NotedHangup())
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


@contextlib.asynccontextmanager
async def on_hangup(read_again: Callable[[], Awaitable[None]], path: str) -> AsyncIterator[None]:
    """Await `read_again` after each SIGHUP in the `async with` block; a failure is reported, and the old configuration remains.

    A signal during `read_again` makes it run once more.  On systems without SIGHUP, nothing happens.
    """
    if not hasattr(signal, "SIGHUP"):
        yield
        return
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    # A handler of the loop would leave the default behind, which ends the process.
    before = signal.signal(signal.SIGHUP, lambda *_: loop.call_soon_threadsafe(asked.set))
    if isinstance(before, NotedHangup) and before.came:
        asked.set()
    task = loop.create_task(_reload_loop(asked, read_again, path))
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)
        task.cancel()
        await asyncio.wait([task])


async def _reload_loop(asked: asyncio.Event, read_again: Callable[[], Awaitable[None]], path: str) -> None:
    while await asked.wait():
        asked.clear()
        try:
            await read_again()
        except UsageError as error:
            report(f"{error}; the old configuration remains")
        except Exception:
            log.exception("%s could not be read; the old configuration remains", path)


@contextlib.asynccontextmanager
async def reloading(server: Server, path: str, configuration: Configuration, *, workers: int = 1) -> AsyncIterator[None]:
    """Apply the file `path` to `server`, which has `configuration`, after each SIGHUP in the `async with` block.

    With `workers`, the server is one of that many processes, and the first process writes the MTA's maps.
    """
    current = configuration

    async def reload() -> None:
        nonlocal current
        # A million members take seconds, so a thread reads the file.
        found, prepared = await asyncio.to_thread(read_again, path, workers)
        server.reconfigure(found, prepared)
        current.close()
        current = found
        report(f"{path} was reloaded")
        if workers == 1:
            await asyncio.to_thread(make_maps, found)

    async with on_hangup(reload, path):
        if hasattr(signal, "SIGHUP") and workers == 1:
            await asyncio.to_thread(make_maps, configuration)
        yield


def make_maps(configuration: Configuration) -> None:
    """Write the MTA's maps again if the configuration requests it; a failure does not stop the server."""
    try:
        maps.regenerate(configuration)
    except UsageError as error:
        report(error)


def read_again(path: str, workers: int) -> tuple[Configuration, tuple[KnownMtas, ssl.SSLContext | None]]:
    """Return the configuration for each of `workers`, with its known MTAs and its TLS context.  Raises UsageError."""
    configuration = share_of(load(path, may_be_empty=False), workers)
    # The group is not needed now, but a missing one would prevent the next start.
    configuration.group()
    tls = configuration.tls()
    try:
        return configuration, (known_mtas_of(configuration.known_mtas, tls), tls)
    except UsageError as error:
        raise ConfigurationError(str(error), file=path) from None
