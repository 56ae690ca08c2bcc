"""`lmtpref serve --workers N`: one server in several processes."""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from lmtpref.cli.open_files import share_of
from lmtpref.cli.reload import make_maps, read_again
from lmtpref.cli.serve_lines import announce, print_summary
from lmtpref.cli.terminal import report
from lmtpref.cli.workers import Workers
from lmtpref.config.configuration import Configuration
from lmtpref.lists import QueueUnreachableError
from lmtpref.net.engine import Engine
from lmtpref.net.listeners import Listener
from lmtpref.protocol.errors import UsageError
from lmtpref.protocol.handler import AcceptAll
from lmtpref.server import listeners_of

MAX_WORKERS = 256


@dataclass(frozen=True, slots=True)
class WorkerGroup:
    """The objects that the first process gives to a worker.

    The worker serves on `listeners`, then calls `ready`, and stops when `lifeline`, a descriptor, becomes readable.
    """

    workers: int
    listeners: list[Listener]
    ready: Callable[[], None]
    lifeline: int


ServeInGroup = Callable[[argparse.Namespace, Configuration, WorkerGroup], int]


def serve(options: argparse.Namespace, configuration: Configuration, workers: int, work: ServeInGroup) -> int:
    """Serve in `workers` processes, each of which runs `work` with its share of the limits; return the exit code.

    Raises UsageError: if the number or another option does not allow that.
    """
    _check(options, workers)
    share = share_of(configuration, workers)
    share.tls()  # reports an error before any process is started
    engine = _bind_listeners(share, options.listen or (), allow_remote=options.allow_remote)
    addresses = engine.addresses

    def reload() -> bool:
        nonlocal share
        if not options.config:
            return False
        try:
            read, _ = read_again(options.config, workers)
        except UsageError as error:
            report(f"{error}; the old configuration remains")
            return False
        # The queues are not replaced, as with one process.
        share = replace(read, maildir=share.maildir, queues_url=share.queues_url, queue_options=share.queue_options)
        make_maps(share)
        return True

    make_maps(share)
    gc.freeze()  # so that a garbage collection in a worker does not write to shared pages
    group = Workers(
        workers,
        lambda ready, lifeline: work(options, share, WorkerGroup(workers, engine.listeners, ready, lifeline)),
        on_ready=lambda: announce(addresses, in_memory=False),
        on_reload=reload,
        on_stop=engine.release,
    )
    code = group.run()
    if group.all_ready:
        asyncio.run(_summarise(configuration))
    return code


def _bind_listeners(configuration: Configuration, listen: Iterable[str], *, allow_remote: bool) -> Engine:
    """Return an engine that is bound to the addresses of `configuration`, for servers in several processes.

    It does not accept connections; `release` closes its sockets and removes their files.  Raises UsageError as `Engine.bind` does.
    """
    engine = Engine(
        AcceptAll(),
        known_mtas=configuration.known_mtas,
        allow_remote=allow_remote or configuration.allow_remote,
        unix_group=configuration.group(),
        tls=configuration.tls(),
    )
    engine.bind(list(listen) or listeners_of(configuration))
    return engine


def _check(options: argparse.Namespace, workers: int) -> None:
    if not hasattr(os, "fork"):
        raise UsageError("workers need fork(), which this system does not have")
    if not 1 <= workers <= MAX_WORKERS:
        raise UsageError(f"--workers takes a number from 1 to {MAX_WORKERS}: {workers}")
    for option in "stdio", "faults", "capture":
        if getattr(options, option):
            raise UsageError(f"--{option} cannot be combined with several workers")


async def _summarise(configuration: Configuration) -> None:
    """Print the contents of the queues when all workers have ended."""
    queues = configuration.queues()
    try:
        await queues.open()
        await print_summary(queues)
    except QueueUnreachableError as error:
        print(f"queued: unknown: {error}", flush=True)
    finally:
        await queues.aclose()
