"""`lmtpref check`: test any LMTP server against the transcripts of the documents."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from lmtpref.check import cases, clients, dump, known, report_html, report_json, report_text
from lmtpref.check.cases import Case
from lmtpref.check.conditions import condition
from lmtpref.check.played import Played
from lmtpref.check.report_text import counted
from lmtpref.check.results import Run
from lmtpref.check.runner import CheckOptions, begins_session, each, examine
from lmtpref.check.stored import command_store
from lmtpref.check.sweeps import sweep
from lmtpref.check.target import CommandTarget, ListeningTarget, Target
from lmtpref.check.usage import recipients
from lmtpref.check.world import World
from lmtpref.cli.arguments import path_name, seconds
from lmtpref.cli.exit_codes import FAILED_EXIT, UNSTARTED_EXIT
from lmtpref.cli.terminal import report
from lmtpref.net.socket_wire import PATIENCE_SECONDS
from lmtpref.protocol.errors import UsageError
from lmtpref.testing.replay import ScriptServer
from lmtpref.transcripts.notation import LEVELS

_CLIENT_SECONDS = 10.0  # for a client program to start, and to send its message


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `check`."""
    check = commands.add_parser("check", help="test an LMTP server or client with the transcripts of the documents")
    check.add_argument(
        "words", nargs="*", metavar="HOST:PORT|unix:PATH [CLAUSE|ID|PAGE...]", help="the server, and the cases to play (default: all)"
    )
    check.add_argument("--command", metavar="COMMAND", help="instead of an address: a program that speaks LMTP on its standard streams")
    check.add_argument("--client", metavar="COMMAND", help="test a client instead: a program that sends a message to {host} {port}")
    _add_selection(check)
    _add_world(check)
    check.add_argument("--match", choices=LEVELS, default="code", help="how closely replies are compared (default: %(default)s)")
    check.add_argument("--strict", action="store_true", help="violations of SHOULD and MAY, and second-best replies, are failures")
    check.add_argument(
        "--timeout",
        type=seconds,
        default=PATIENCE_SECONDS,
        metavar="SECONDS",
        help="how long to wait for each reply (default: %(default)g)",
    )
    check.add_argument("--known", type=path_name, metavar="FILE.toml", help="cases that are expected to fail, with reasons")
    check.add_argument("--write-known", type=path_name, metavar="FILE.toml", help="write the failures of this run as such a file")
    _add_reports(check)
    check.add_argument("-x", dest="stop", action="store_true", help="stop after the first failure")
    check.add_argument("-v", dest="verbose", action="store_true", help="print every conversation")
    check.set_defaults(run=_check)


def _add_reports(check: argparse.ArgumentParser) -> None:
    check.add_argument("--json", type=path_name, metavar="FILE", help="write the report as JSON")
    check.add_argument("--junit", type=path_name, metavar="FILE", help="write the report as JUnit XML")
    check.add_argument("--html", type=path_name, metavar="FILE", help="write the report, or the comparison, as one HTML page")
    check.add_argument("--dump", type=path_name, metavar="FILE", help="write the cases as JSON and play none")
    check.add_argument("--compare", nargs="+", type=path_name, metavar="FILE", help="compare reports in JSON and play nothing")


def _add_selection(check: argparse.ArgumentParser) -> None:
    check.add_argument("--list", action="store_true", help="print the cases and play none")
    check.add_argument("--suite", choices=("protocol", "acceptance", "all"), default="protocol", help="which cases (default: %(default)s)")
    check.add_argument("-k", dest="keyword", metavar="TEXT", default="", help="only cases with TEXT in their id")


def _add_world(check: argparse.ArgumentParser) -> None:
    check.add_argument("--recipient", action="append", default=[], metavar="ADDRESS", help="an address that the server accepts; up to 3")
    check.add_argument("--unknown", metavar="ADDRESS", help="an address that the server rejects")
    check.add_argument(
        "--world", type=path_name, metavar="FILE.toml", help="a file that maps the transcripts' addresses to those of the server"
    )
    check.add_argument("--store-command", metavar="COMMAND", help="a command that prints the newest message stored for {recipient}")
    check.add_argument("--given", action="append", default=[], metavar="NAME", help="a condition that the server is in; may be repeated")


def _check(options: argparse.Namespace) -> int:
    _require_compatible(options)
    with _ended_by_signals():
        if options.compare:
            return _compare([report_json.load(Path(file)) for file in options.compare], options.html)
        address, names = _address_and_names(options)
        chosen = _chosen(options, names)
        if options.list:
            print("\n".join(map(report_text.listing, chosen)))
            return 0
        if options.dump:
            _write(options.dump, dump.as_json(chosen))
            return 0
        if options.client is not None:
            return _check_client(chosen, options)
        return _play(chosen, _target(options, address), options)


def _require_compatible(options: argparse.Namespace) -> None:
    """Raise UsageError for options of which one would have no effect."""
    for exclusive in ("command", "client"), ("list", "dump", "compare"):
        given = [f"--{name}" for name in exclusive if getattr(options, name) not in (None, False)]
        if len(given) > 1:
            raise UsageError(f"one of these options: {' '.join(given)}")
    files = [file for file in (options.json, options.junit, options.html, options.write_known) if file]
    if len(set(files)) < len(files):
        raise UsageError("every report needs a file of its own")


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Turn SIGTERM and SIGINT into SystemExit, so that every program that was started is ended."""
    with contextlib.ExitStack() as handlers:
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(ValueError):  # only the main thread may set signal handlers
                handlers.callback(signal.signal, number, signal.signal(number, lambda number, _: sys.exit(128 + number)))
        yield


def _address_and_names(options: argparse.Namespace) -> tuple[str | None, list[str]]:
    """Return the server's address, if the words begin with one, and the names of cases.  No name of a case has a colon."""
    words = list(options.words)
    needs_address = not (options.list or options.dump or options.command is not None or options.client is not None)
    address = words.pop(0) if words and (needs_address or ":" in words[0]) else None
    if address and (options.command is not None or options.client is not None):
        raise UsageError(f"an address, --command or --client; not both: {address}")
    return address, words


def _chosen(options: argparse.Namespace, names: Sequence[str]) -> list[Case]:
    wanted = {"client"} if options.client is not None else {"protocol", "acceptance"} if options.suite == "all" else {options.suite}
    named = cases.select([case for case in cases.load() if case.suite in wanted], names)
    chosen = [case for case in named if options.keyword in case.id]
    if not chosen:
        raise UsageError(f"no case has {options.keyword!r} in its id; --list prints them")
    return chosen


def _check_client(chosen: Sequence[Case], options: argparse.Namespace) -> int:
    """Play the flipped transcripts to a client program."""
    expected = known.load(Path(options.known)) if options.known else {}
    results = []
    for result in clients.run(chosen, options.client, ScriptServer, seconds=max(options.timeout, _CLIENT_SECONDS)):
        results.append(result)
        if result.is_failure:
            print(report_text.failure(result), flush=True)
        if options.stop and result.is_failure:
            break
    run = Run(options.client, "code", options.strict, results)
    return _report(known.expect(run, expected, frozenset(case.id for case in chosen)), expected, options)


def _target(options: argparse.Namespace, address: str | None) -> Target:
    given = frozenset(condition(name).name for name in options.given)
    if options.command is not None:
        return CommandTarget(options.command, given=given, patience_seconds=options.timeout)
    if not address:
        raise UsageError("a server's address is needed, HOST:PORT or unix:PATH, or --command")
    return ListeningTarget(address, given=given, patience_seconds=options.timeout)


def _world(options: argparse.Namespace) -> World:
    if options.world and (options.recipient or options.unknown):
        raise UsageError("--world replaces --recipient and --unknown")
    return World.load(Path(options.world)) if options.world else World.of(options.recipient, options.unknown)


def _play(chosen: Sequence[Case], target: Target, options: argparse.Namespace) -> int:
    store = command_store(options.store_command) if options.store_command else None
    playing = CheckOptions(options.match, options.strict, _world(options), options.stop, store)
    expected = known.load(Path(options.known)) if options.known else {}
    found = examine(chosen, target, playing)
    if found.problem and not any(not begins_session(case) and all(map(target.takes, case.given)) for case in chosen):
        report(f"{target.name} cannot be checked: {found.problem}")
        return UNSTARTED_EXIT
    print(_announcement(chosen, target, playing), flush=True)
    played: list[Played] = []
    for one in each(chosen, target, found, playing):
        played.append(one)
        _print_progress(played)
        if options.verbose and one.result.wire:
            print(report_text.conversation(one.result), flush=True)
        elif one.result.is_failure:
            print(report_text.failure(one.result), flush=True)
    results = [*(one.result for one in played), *sweep(played, found)]
    for result in results[len(played) :]:
        if result.is_failure:
            print(report_text.failure(result), flush=True)
    run = Run(target.name, options.match, options.strict, results, found.greeting, found.offers)
    return _report(known.expect(run, expected, frozenset(case.id for case in cases.load())), expected, options)


def _compare(runs: Sequence[Run], html: str | None) -> int:
    """Print the matrix of several runs, or write it as a page."""
    if html:
        _write(html, report_html.as_matrix(runs))
    else:
        print(report_text.matrix(runs), end="")
    return 0


def _write(file: str, text: str) -> None:
    try:
        Path(file).write_text(text, "utf-8")
    except OSError as error:
        raise UsageError(f"{file}: cannot be written: {error.strerror}") from None


def _announcement(chosen: Sequence[Case], target: Target, playing: CheckOptions) -> str:
    able = [case for case in chosen if all(map(target.takes, case.given)) and not playing.world.missing(case)]
    addresses = dict.fromkeys(address for case in able if case.messages for address in recipients(playing.world.spoken(case.transcript)))
    messages = sum(case.messages for case in able)
    sent = f"at most {counted(messages, 'message')}, to {', '.join(addresses)}" if messages else "no messages"
    return f"{counted(len(chosen), 'case')}; {sent}"


def _print_progress(played: Sequence[Played]) -> None:
    """Print the name of each page as it begins, if standard error is a terminal."""
    if sys.stderr.isatty() and [one.case.page for one in played[-2:]].count(played[-1].case.page) == 1:
        report(played[-1].case.page)


def _report(run: Run, expected: dict[str, str], options: argparse.Namespace) -> int:
    if options.write_known:
        text = known.as_toml(run.results, expected)
        _write(options.write_known, text)
        print(f"{counted(text.count(chr(10)), 'known failure')} written to {options.write_known}")
    for file, render in (options.json, report_json.as_json), (options.junit, report_json.as_junit), (options.html, report_html.as_html):
        if file:
            _write(file, render(run))
    print(report_text.summary(run), end="")
    return 0 if run.passed else FAILED_EXIT
