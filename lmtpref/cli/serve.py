"""`lmtpref serve`: the reference server."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from lmtpref.cli import log_json, serve_faults, serve_given, serve_workers
from lmtpref.cli.arguments import path_name
from lmtpref.cli.background import background_log, nonblocking_log
from lmtpref.cli.exit_codes import FAILED_EXIT
from lmtpref.cli.open_files import fit_connections
from lmtpref.cli.reload import noting_hangups, reloading
from lmtpref.cli.serve_lines import announce, print_summary
from lmtpref.cli.serve_workers import WorkerGroup
from lmtpref.cli.terminal import report
from lmtpref.config.configuration import Configuration
from lmtpref.config.loader import cast, load
from lmtpref.lists import ListHandler, MemoryDirectory, MemoryQueues, Queues, QueueUnreachableError
from lmtpref.net.engine import loop_factory
from lmtpref.net.hook_errors import ENDS_SERVER
from lmtpref.protocol.errors import UsageError
from lmtpref.protocol.handler import AcceptAll
from lmtpref.server import Server

ATTEMPT_SECONDS = 1.0  # between attempts to reach the engine of the queues
# How long a thread of a queue may keep the interpreter lock each time; 5 ms, the default, are more than a message takes.
SWITCH_SECONDS = 0.0005
COLLECTED_AFTER = (50_000, 20, 10)  # the arguments of gc.set_threshold


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `serve`."""
    serve = commands.add_parser("serve", help="run the server; without CONFIG, three lists in memory for a demonstration")
    serve.add_argument("config", type=path_name, nargs="?", metavar="CONFIG.toml", help="the configuration file (docs: configuration)")
    serve.add_argument(
        "--listen", action="append", metavar="HOST:PORT|unix:PATH", help="the address to listen on, instead of CONFIG's; may be repeated"
    )
    serve.add_argument("--allow-remote", action="store_true", help="allow addresses other than loopback; CONFIG must have known_mtas")
    kept = serve.add_mutually_exclusive_group()
    kept.add_argument("--spool", type=path_name, metavar="DIR", help="store messages in a spool in this folder, instead of CONFIG's queues")
    kept.add_argument(
        "--queues", metavar="URL", help="store messages in this engine instead (docs: queues); env:NAME reads an environment variable"
    )
    serve.add_argument("--held", metavar="URL", help="with amqp: the engine for held and discarded messages")
    serve.add_argument("--wait", action="store_true", help="wait for the queues' engine if it is unreachable at the start")
    serve.add_argument(
        "--stdio", action="store_true", help="serve one client on standard input and output instead of listening; needs a spool"
    )
    serve.add_argument("--uvloop", choices=("auto", "yes", "no"), default="auto", help="the event loop (default: auto)")
    serve.add_argument("--workers", type=int, metavar="N", help="the number of server processes (default: CONFIG's, or 1)")
    serve_faults.add_to(serve)
    serve_given.add_to(serve)
    log_json.add_to(serve)
    serve.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    # While the server serves, its log has a thread of its own; before, after, and in the first of several processes it has none.
    # Without CONFIG, SIGHUP ends the process, because there is nothing to read again.
    hangups = noting_hangups() if options.config else contextlib.nullcontext()
    with nonblocking_log(), hangups:
        return _serve(options)


def _serve(options: argparse.Namespace) -> int:
    configuration, given = _configuration(options), serve_given.asked_for(options)
    _check_stdio(options, configuration)
    for condition in given:
        configuration = serve_given.under_condition(configuration, condition)
    options.accept_all = options.accept_all or any(condition.accept_all for condition in given)
    workers = configuration.workers if options.workers is None else options.workers
    if workers != 1:
        serve_given.check_for_workers(given)
        return serve_workers.serve(options, configuration, workers, _work)
    configuration = fit_connections(configuration)
    journal, capture = log_json.journal_for(options), serve_faults.capture_for(options)
    recorder = serve_faults.recorder_for(options, capture)
    for condition in given:
        recorder = serve_given.recorder_for(condition, recorder)
    server = Server.from_config(
        configuration,
        listen=options.listen or (),
        allow_remote=options.allow_remote,
        interpose=serve_faults.interpose_for(recorder),
        journal=journal,
    )
    if options.accept_all:
        server.handler = AcceptAll()
    _warn_of_forgeries(server)
    _collect_garbage_rarely()
    finished = _run_until_end(server, options, configuration, None)
    missing = serve_faults.report_missing(recorder) if options.faults else False
    return 0 if finished and not missing and not (capture and capture.missed) else FAILED_EXIT


def _work(options: argparse.Namespace, configuration: Configuration, group: WorkerGroup) -> int:
    """Serve as one of several processes."""
    server = Server.from_config(configuration, listen=group.listeners, journal=log_json.journal_for(options))
    if options.accept_all:
        server.handler = AcceptAll()
    elif isinstance(server.queues, MemoryQueues):
        raise UsageError(f"workers = {group.workers} needs [spool] or [queues], because processes do not share memory")
    return 0 if _run_until_end(server, options, configuration, group) else FAILED_EXIT


def _run_until_end(server: Server, options: argparse.Namespace, configuration: Configuration, group: WorkerGroup | None) -> bool:
    """Serve until a signal, or until the single conversation is over; return whether all entries were stored."""
    is_shown = not options.stdio and group is None
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        with contextlib.ExitStack() as stack, asyncio.Runner(loop_factory=loop_factory(options.uvloop)) as runner:
            if options.stdio:
                runner.run(_one_conversation(server, stack))
            else:
                runner.run(_serve_until_stopped(server, options, configuration, stack, group))
    except ENDS_SERVER:  # raised by a hook; the server has stopped in order
        _finish(server.queues, is_shown=is_shown)
        raise
    return _finish(server.queues, is_shown=is_shown)


def _finish(queues: Queues, *, is_shown: bool) -> bool:
    """Close the queues, and print their contents if requested; return whether all entries were stored."""
    finished = asyncio.run(queues.aclose())
    if is_shown:
        asyncio.run(print_summary(queues))
    return bool(finished)


def _warn_of_forgeries(server: Server) -> None:
    """Warn of each list that trusts any header; lists in a database cause the warning at their first post."""
    handler = server.handler
    if isinstance(handler, ListHandler) and isinstance(handler.directory, MemoryDirectory):
        for mailing_list in handler.directory:
            handler.warn_of_forgeries(mailing_list)


def _collect_garbage_rarely() -> None:
    """Collect garbage seldom: few objects here form cycles, and a collection stops the server for longer the more objects exist."""
    gc.freeze()
    gc.set_threshold(*COLLECTED_AFTER)


def _configuration(options: argparse.Namespace) -> Configuration:
    if options.config and options.accept_all:
        raise UsageError("--accept-all cannot be combined with CONFIG, which has lists")
    configuration = load(options.config) if options.config else cast()
    # With --stdio there is no socket and no TLS: an MTA's user may not even be able to read the key.
    if options.stdio:
        settings = replace(configuration.settings, require_tls="no")
        no_tls: dict[str, Any] = dict.fromkeys(("tls_certificate", "tls_key", "tls_client_ca"))
        configuration = replace(configuration, known_mtas=None, unix_group=None, settings=settings, **no_tls)
    return _with_queues(configuration, options)


def _with_queues(configuration: Configuration, options: argparse.Namespace) -> Configuration:
    """Return the configuration, with the queues of the command line instead of its own, and without the `held` of those."""
    if options.held is not None or options.queues is not None or options.spool:
        configuration = replace(configuration, queue_options=replace(configuration.queue_options, held=options.held))
    if options.queues is not None:
        return replace(configuration, maildir=None, queues_url=options.queues)
    return replace(configuration, maildir=Path(options.spool)) if options.spool else configuration


def _check_stdio(options: argparse.Namespace, configuration: Configuration) -> None:
    if not options.stdio:
        return
    for option in "listen", "wait":
        if getattr(options, option):
            raise UsageError(f"--stdio cannot be combined with --{option}")
    if not (configuration.maildir or configuration.queues_url):
        raise UsageError("--stdio needs a spool (--spool DIR)")
    if os.path.sameopenfile(sys.stdout.fileno(), sys.stderr.fileno()):
        # An MTA may have joined stderr with stdout, and would take log lines for replies.
        logging.disable()


async def _serve_until_stopped(
    server: Server, options: argparse.Namespace, configuration: Configuration, stack: contextlib.ExitStack, group: WorkerGroup | None
) -> None:
    """Serve until a signal; lines logged after the first ones are written in the background, until `stack` is closed."""
    stop = _stop_event()
    if options.wait and not await _reached(server, stop):
        return
    workers = group.workers if group else 1
    async with server, reloading(server, options.config, configuration, workers=workers) if options.config else contextlib.nullcontext():
        if group:
            asyncio.get_running_loop().add_reader(group.lifeline, stop.set)
            group.ready()
        else:
            announce(server.addresses, in_memory=isinstance(server.queues, MemoryQueues))
        stack.enter_context(background_log())
        await stop.wait()


async def _reached(server: Server, stop: asyncio.Event) -> bool:
    """Wait until the engine of the queues can be reached; return False if a signal stops the server first."""
    is_reported = False
    while not stop.is_set():
        try:
            await server.open_queues()
        except QueueUnreachableError as error:
            if not is_reported:
                report(f"waiting for the queues: {error}")
                is_reported = True
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), ATTEMPT_SECONDS)
        else:
            return True
    return False


async def _one_conversation(server: Server, stack: contextlib.ExitStack) -> None:
    await server.open_queues()
    stack.enter_context(background_log())
    stop = asyncio.create_task(_stop_event().wait())
    over = asyncio.create_task(server.converse())
    await asyncio.wait([stop, over], return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    await server.aclose()
    await over


def _stop_event() -> asyncio.Event:
    """Return the event that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        # Windows lacks these signals for event loops: there, Ctrl-C stops the server.
        with contextlib.suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop
