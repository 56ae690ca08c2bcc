"""The command line.

Exit codes: 0 done; 1 failed or did not match; 2 usage or configuration; 3 timed out; 4 never started; 130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence

from lmtpref import __version__
from lmtpref.cli.exit_codes import FAILED_EXIT, INTERRUPTED_EXIT
from lmtpref.cli.terminal import LineFormatter, escaping, is_worth_logging, report
from lmtpref.lists.queues.interface import QueueUnreachableError
from lmtpref.protocol.connection_log import ConnectionFilter
from lmtpref.protocol.errors import UsageError

COMMANDS = ("serve", "check", "explain", "lists", "maps", "milter", "queues", "send", "mock")  # each is a module of `lmtpref.cli`
USAGE_EXIT = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code."""
    with escaping():
        words = sys.argv[1:] if arguments is None else arguments
        try:
            options = _options(words)
            _begin_logging()
            code: int = options.run(options)
        except UsageError as error:
            report(error)
            return USAGE_EXIT
        except QueueUnreachableError as error:
            report(error)
            return FAILED_EXIT
        except KeyboardInterrupt:
            report("interrupted")
            return INTERRUPTED_EXIT
    return code


def _options(words: Sequence[str]) -> argparse.Namespace:
    """Return the options in the arguments; the words of `check` may stand between options, which argparse does not support."""
    command = parser(words[:1])
    options, rest = command.parse_known_args(words)
    if rest and ("words" not in options or any(word.startswith("-") for word in rest)):
        command.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        options.words += rest
    return options


def _begin_logging() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter())
    handler.addFilter(ConnectionFilter())
    handler.addFilter(is_worth_logging)
    logging.basicConfig(level=logging.WARNING, handlers=[handler])


def parser(named: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Return the parser of the command named in the arguments, or of all commands without one.

    An MTA may start `serve --stdio` for each message, so a command does not import what only the others need.
    """
    program = argparse.ArgumentParser(prog="lmtpref", description="The reference for LMTP (RFC 2033).")
    program.add_argument("--version", action="version", version=f"lmtpref {__version__}")
    commands = program.add_subparsers(required=True, metavar="COMMAND")
    for command in named if set(named) & set(COMMANDS) else COMMANDS:
        importlib.import_module(f"lmtpref.cli.{command}").add_to(commands)
    return program
