"""`lmtpref mock`: play the server's side of a transcript to a client."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys

from lmtpref.cli.arguments import seconds
from lmtpref.protocol.errors import TranscriptError, UsageError
from lmtpref.testing.replay import SCRIPT_SECONDS, ScriptServer
from lmtpref.transcripts.finder import find
from lmtpref.transcripts.script import Script

PLAYED_EXIT, MISMATCH_EXIT, TIMED_OUT_EXIT, UNSTARTED_EXIT = 0, 1, 3, 4


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `mock`."""
    mock = commands.add_parser("mock", help="play the server's side of a transcript, once, to test a client")
    mock.add_argument(
        "transcript", metavar="FILE.rst#ID|FILE|ID", help="the transcript: in a document, in a file of its own, or one of lmtpref's"
    )
    mock.add_argument(
        "--listen", default="127.0.0.1:0", metavar="HOST:PORT|unix:PATH", help="the address to listen on (default: %(default)s)"
    )
    mock.add_argument(
        "--timeout",
        type=seconds,
        default=SCRIPT_SECONDS,
        metavar="SECONDS",
        help="how long to wait for the client to finish (default: %(default)g)",
    )
    mock.set_defaults(run=_mock)


def _mock(options: argparse.Namespace) -> int:
    try:
        script = Script(find(options.transcript))
    except TranscriptError as error:
        raise UsageError(str(error)) from None
    server = ScriptServer(script, options.listen)
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(ValueError):  # only the main thread may set signal handlers
            signal.signal(number, lambda *_: server.stop())
    print(f"listening on {server.address}", flush=True)
    server.play(options.timeout)
    print(script.explain(), end="", file=sys.stderr)
    return _exit_code(script, timed_out=server.timed_out)


def _exit_code(script: Script, *, timed_out: bool) -> int:
    if script.verdict == "unfinished":
        return TIMED_OUT_EXIT if timed_out else MISMATCH_EXIT
    return {"played": PLAYED_EXIT, "mismatch": MISMATCH_EXIT, "unstarted": UNSTARTED_EXIT}[script.verdict]
