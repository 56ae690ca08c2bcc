"""The commands of lmtpref, run and described in the process of a page."""

import argparse
from collections.abc import Iterator, Sequence
from importlib.metadata import entry_points
from typing import Any

from lmtpref.cli.main import parser

# What the installed program `lmtpref` runs.
[_program] = entry_points(group="console_scripts", name="lmtpref")
main = _program.load()


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options that `lmtpref` reads from these arguments."""
    return parser().parse_args(arguments)


def print_commands(*above: str) -> None:
    """Print each command with its line of help: all of `lmtpref`, or those below a command."""
    for choice in _choices(_parser(*above))._choices_actions:
        print(choice.dest, f"    {choice.help}", sep="\n")


def print_options(*command: str) -> None:
    """Print each option of a command with its line of help."""
    for option in _parser(*command)._actions:
        takes = option.metavar or "|".join(option.choices or "") or ("" if option.nargs == 0 else option.dest.upper())
        print(" ".join([*option.option_strings, str(takes)]).strip(), f"    {option.help}", sep="\n")


def without_help(name: str = "lmtpref", described: argparse.ArgumentParser | None = None) -> Iterator[str]:
    """Yield the options that have no line of help, of all commands."""
    for action in (described or parser())._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command, below in action.choices.items():
                yield from without_help(f"{name} {command}", below)
        elif not action.help:
            yield f"{name}: {action.dest}"


def _parser(*command: str) -> argparse.ArgumentParser:
    found = parser()
    for word in command:
        found = _choices(found).choices[word]
    return found


def _choices(above: argparse.ArgumentParser) -> "argparse._SubParsersAction[Any]":
    return next(action for action in above._actions if isinstance(action, argparse._SubParsersAction))
