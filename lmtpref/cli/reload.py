"""SIGHUP: the configuration is read again while the server serves."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import ssl
from collections.abc import AsyncIterator, Callable

from lmtpref.cli import maps
from lmtpref.cli.open_files import share_of
from lmtpref.cli.terminal import report
from lmtpref.config.loader import Configuration, load
from lmtpref.net.listeners import known_peers
from lmtpref.protocol.errors import ConfigurationError, UsageError
from lmtpref.server import Server

log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def reloading(server: Server, path: str, configuration: Configuration, *, workers: int = 1) -> AsyncIterator[None]:
    """While this lasts, SIGHUP lets `server`, which has `configuration`, do what the file `path` says then.

    What cannot be used is told in one line, and the old configuration stays.  Where there is no SIGHUP, nothing happens.
    With `workers`, the server is one of so many processes, and the first process makes the MTA's maps.
    """
    if not hasattr(signal, "SIGHUP"):
        yield
        return
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, asked.set)
    if workers == 1:
        await asyncio.to_thread(make_maps, configuration)
    task = loop.create_task(_reload_loop(asked, server, path, configuration, workers))
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        task.cancel()
        await asyncio.wait([task])


async def _reload_loop(asked: asyncio.Event, server: Server, path: str, current: Configuration, workers: int) -> None:
    """Read the file each time that is asked for; asked several times while it reads, once more."""
    while await asked.wait():
        asked.clear()
        try:
            configuration, is_known, tls = await asyncio.to_thread(read_again, path, workers)  # a million members take seconds
            server.reconfigure(configuration, is_known, tls)
            current.close()
            current = configuration
            report(f"{path} was read again")
            if workers == 1:
                await asyncio.to_thread(make_maps, configuration)
        except UsageError as error:
            report(f"{error}; the old configuration stays")
        except Exception:
            log.exception("%s could not be read; the old configuration stays", path)


def make_maps(configuration: Configuration) -> None:
    """Make the MTA's maps anew, if that is wanted; if it fails, the server serves all the same."""
    try:
        maps.regenerate(configuration)
    except UsageError as error:
        report(error)


def read_again(path: str, workers: int) -> tuple[Configuration, Callable[[str | None], bool], ssl.SSLContext | None]:
    """Return what the file says, for each of `workers`, with its known MTAs and its certificate.  Raises UsageError."""
    configuration = share_of(load(path), workers)
    configuration.group()  # of no use now, and missed when the server starts again
    tls = configuration.tls()
    try:
        return configuration, known_peers(configuration.known_mtas), tls
    except UsageError as error:
        raise ConfigurationError(str(error), file=path) from None
