"""`lmtpref queues`: what a spool holds."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

from lmtpref.cli.terminal import report
from lmtpref.lists import DamagedEntryError, Entry, Spool, Stored, show
from lmtpref.lists.policy.header import Header
from lmtpref.protocol.errors import UsageError
from lmtpref.protocol.printable import printable

FAILED_EXIT = 1


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Make `queues` one of the commands."""
    queues = commands.add_parser("queues", help="say what a spool holds; show or remove an entry")
    queues.add_argument("spool", metavar="DIR", help="the spool")
    queues.add_argument("action", nargs="?", choices=tuple(_ACTIONS), default="list", help="what to do (default: list)")
    queues.add_argument("id", nargs="?", metavar="ID", help="which entry to show or remove, as `list` calls it")
    queues.add_argument("--raw", action="store_true", help="show the message octet for octet, as it is stored, and not escaped")
    queues.add_argument("--json", action="store_true", help="for programs")
    queues.set_defaults(run=_queues)


def _queues(options: argparse.Namespace) -> int:
    if (options.id is None) != (options.action == "list"):
        raise UsageError(f"{options.action} needs no ID" if options.id else f"{options.action} needs the ID of an entry")
    return _ACTIONS[options.action](Spool(options.spool), options)


def _list(spool: Spool, options: argparse.Namespace) -> int:
    """A line for every entry; 1 if one of them is damaged."""
    found = [_described(file) for file in _files(spool)]
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        sys.stdout.writelines(f"{printable(_line(data))}\n" for data in found)
        print(f"entries: {len(found)}")
    return FAILED_EXIT if any("damage" in data for data in found) else 0


def _show(spool: Spool, options: argparse.Namespace) -> int:
    """An entry's data, an empty line, and the message as it is stored."""
    file = _find(spool, options.id)
    if file is None:
        return FAILED_EXIT
    try:
        entry = file.entry()
    except DamagedEntryError as error:
        report(f"{file.path}: {error}")
        return FAILED_EXIT
    if options.json:
        print(json.dumps(_described(file), indent=1))
        return 0
    show(entry)
    print()
    sys.stdout.flush()
    if options.raw:
        sys.stdout.buffer.write(entry.octets)
    else:
        lines = entry.octets.decode("utf-8", "backslashreplace").replace("\r\n", "\n").split("\n")
        print("\n".join(map(printable, lines)), end="")
    return 0


def _remove(spool: Spool, options: argparse.Namespace) -> int:
    """An entry is gone."""
    file = _find(spool, options.id)
    if file is None:
        return FAILED_EXIT
    file.remove()
    return 0


_ACTIONS: dict[str, Callable[[Spool, argparse.Namespace], int]] = {"list": _list, "show": _show, "remove": _remove}


def _files(spool: Spool) -> Iterator[Stored]:
    for queue in spool.values():
        yield from queue.stored()


def _find(spool: Spool, identifier: str) -> Stored | None:
    try:
        return spool.find(identifier)
    except KeyError:
        report(f"{spool.path}: no entry {identifier!r}")
        return None


def _described(file: Stored) -> dict[str, Any]:
    data: dict[str, Any] = {"id": file.id, "queue": file.queue, "path": str(file.path)}
    try:
        return data | _data(file.entry())
    except (DamagedEntryError, OSError) as error:
        return data | {"damage": str(error)}


def _data(entry: Entry) -> dict[str, Any]:
    return {
        "list": entry.list,
        "subaddress": entry.subaddress,
        "detail": entry.detail,
        "reverse_path": entry.reverse_path,
        "forward_path": entry.forward_path,
        "verdict": str(entry.verdict),
        "octets": len(entry.content),
        "message_id": Header(entry.content).message_id,
    }


def _line(data: dict[str, Any]) -> str:
    if "damage" in data:
        return f"{data['queue']:8} {data['id']}: {data['damage']}"
    sender, recipient = data["reverse_path"] or "<>", data["forward_path"]
    return f"{data['queue']:8} {data['id']} {data['octets']:>9} {sender} -> {recipient} {data['message_id'] or '-'}"
