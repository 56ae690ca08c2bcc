"""`lmtpref queues`: list and edit the queues of an engine."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from lmtpref.cli.exit_codes import FAILED_EXIT
from lmtpref.cli.terminal import print_octets, report
from lmtpref.lists import ACCEPT, DamagedEntryError, StoredEntry, show
from lmtpref.lists.addresses import fold_address
from lmtpref.lists.queues.interface import QueueOptions, Store
from lmtpref.lists.queues.memory import QUEUES, Entry, MemoryQueues
from lmtpref.lists.queues.registry import KEEP_HELD, open_queues, open_store, schemes
from lmtpref.lists.queues.url import ENVIRONMENT, masked, resolve, scheme_of
from lmtpref.protocol.errors import UsageError
from lmtpref.protocol.printable import printable

MAX_AGE_DIGITS = 9
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `queues`."""
    queues = commands.add_parser("queues", help="list the entries of queues; show, remove, release or move one")
    queues.add_argument("url", metavar="DIR|URL", help="a spool, or the URL of an engine; env:NAME reads a variable")
    queues.add_argument("action", nargs="?", choices=tuple(_ACTIONS), default="list", help="what to do (default: list)")
    queues.add_argument("id", nargs="?", metavar="ID", help="the ID of an entry, as `list` prints it")
    queues.add_argument("to", nargs="?", metavar="QUEUE", help="move: the queue to move it to")
    queues.add_argument("--by", metavar="NAME", default="", help="release: the moderator's name, which is stored with the entry")
    queues.add_argument("--into", metavar="URL", help="release: the engine to release it into, if that is not its own, as with amqp")
    queues.add_argument("--queue", choices=QUEUES, help="list: only this queue")
    queues.add_argument("--list", metavar="ADDRESS", help="list: only for this list")
    queues.add_argument("--sender", metavar="ADDRESS", help="list: only from this envelope sender; <> is the null sender")
    queues.add_argument("--older", metavar="AGE", type=_seconds, help="list: only entries older than this, such as 90s, 15m, 12h or 3d")
    queues.add_argument("--newer", metavar="AGE", type=_seconds, help="list: only entries newer than this")
    queues.add_argument("--raw", action="store_true", help="show: print the stored octets, unescaped")
    forms = queues.add_mutually_exclusive_group()
    forms.add_argument("--json", action="store_true", help="list, counts and show: print JSON, an array or an object")
    forms.add_argument("--json-lines", action="store_true", help="list: print JSON, one object a line")
    queues.set_defaults(run=_queues)


def _queues(options: argparse.Namespace) -> int:
    counted = options.action in {"list", "counts"}
    if (options.id is None) != counted:
        raise UsageError(f"{options.action} needs no ID" if options.id else f"{options.action} needs the ID of an entry")
    if (options.to is None) == (options.action == "move"):
        raise UsageError("move needs a queue" if options.action == "move" else f"{options.action} needs no queue")
    for name, actions in _ACTIONS_OF.items():
        if getattr(options, name) not in (None, False, "") and options.action not in actions:
            raise UsageError(f"{options.action} does not take --{name.replace('_', '-')}")
    with contextlib.closing(open_store(_url(options.url))) as store:
        if counted:
            return _WHOLE[options.action](store, options)
        stored = _find(store, options)
        return FAILED_EXIT if stored is None else _act(stored, options)


def _act(stored: StoredEntry, options: argparse.Namespace) -> int:
    """Apply the action to one entry, unless it is damaged, or was removed meanwhile."""
    try:
        return _ONE[options.action](stored, options)
    except (DamagedEntryError, OSError) as error:
        report(f"{stored.place}: {error}")
        return FAILED_EXIT


def _url(text: str) -> str:
    """Return `text` if it is a URL, known or not, else the URL of the spool in the folder `text`."""
    is_url = "://" in text or text.startswith((ENVIRONMENT, *(f"{scheme}{end}" for scheme in schemes() for end in ":+")))
    return text if is_url else f"maildir:{text}"


def _seconds(text: str) -> float:
    """Return the seconds in an age such as 12h."""
    number, unit = text[:-1], text[-1:]
    if unit not in _UNITS or not (number.isascii() and number.isdecimal() and len(number) <= MAX_AGE_DIGITS):
        raise argparse.ArgumentTypeError(f"a number of at most {MAX_AGE_DIGITS} digits and s, m, h or d, not {text!r}")
    return int(number) * _UNITS[unit]


# Actions ------------------------------------------------------------------------------------------------------------


def _list(store: Store, options: argparse.Namespace) -> int:
    """Print a line for every entry; return 1 if an entry is damaged."""
    now, found, damaged = time.time(), [], False
    for data in map(_described, store.stored()):
        if data is None or not _is_wanted(data, options, now):
            continue
        damaged |= "damage" in data
        found.append(data)
        if options.json_lines:
            print(json.dumps(data))
        elif not options.json:
            print(printable(_line(data, now)))
    if options.json:
        print(json.dumps(found, indent=1))
    elif not options.json_lines:
        print(f"entries: {len(found)}")
    return FAILED_EXIT if damaged else 0


def _counts(store: Store, options: argparse.Namespace) -> int:
    """Print a line for every queue."""
    held = dict(store.counts())
    if options.json:
        print(json.dumps(held))
    else:
        sys.stdout.writelines(f"{name:8} {count}\n" for name, count in held.items())
    return 0


def _show(stored: StoredEntry, options: argparse.Namespace) -> int:
    """Print an entry's data, an empty line, and the message as it is stored."""
    entry = stored.entry()
    if options.json:
        print(json.dumps(_described(stored), indent=1))
        return 0
    show(entry)
    print()
    if options.raw:
        print_octets(entry.octets)
    else:
        lines = entry.octets.decode("utf-8", "backslashreplace").replace("\r\n", "\n").split("\n")
        print("\n".join(map(printable, lines)), end="")
    return 0


def _remove(stored: StoredEntry, _options: argparse.Namespace) -> int:
    """Remove an entry."""
    stored.remove()
    return 0


def _release(stored: StoredEntry, options: argparse.Namespace) -> int:
    """Move a held entry to `in`, of its engine or of another one, as if its list had accepted it."""
    if stored.queue != "hold":
        report(f"{stored.id} is in {stored.queue}, not in hold")
        return FAILED_EXIT
    released = replace(stored.entry(), verdict=ACCEPT, moderator=options.by)
    if options.into is None:
        stored.move("in", released)
    else:
        asyncio.run(_put(options.into, released, held=_url(options.url)))
        # A crash before this line leaves both, so the entry is not lost.
        stored.remove()
    return 0


async def _put(url: str, entry: Entry, *, held: str) -> None:
    """Store an entry in an engine whose held messages are at `held`, if it does not store them itself."""
    queues = open_queues(url, QueueOptions(held=None if scheme_of(resolve(url)) in KEEP_HELD else held))
    if isinstance(queues, MemoryQueues):
        raise UsageError(f"{masked(url)}: the entry would be lost when this command ends")
    await queues.open()
    try:
        if (stored := queues.put(entry)) is not None:
            await stored
    finally:
        await queues.aclose()


def _move(stored: StoredEntry, options: argparse.Namespace) -> int:
    """Move an entry to another queue as it is."""
    if options.to not in QUEUES:
        raise UsageError(f"no queue {options.to!r}; there are {', '.join(QUEUES)}")
    stored.move(options.to)
    return 0


_WHOLE: dict[str, Callable[[Store, argparse.Namespace], int]] = {"list": _list, "counts": _counts}
_ONE: dict[str, Callable[[StoredEntry, argparse.Namespace], int]] = {
    "show": _show,
    "remove": _remove,
    "release": _release,
    "move": _move,
}
_ACTIONS: Iterable[str] = (*_WHOLE, *_ONE)
# The options that only some actions take.
_ACTIONS_OF: Mapping[str, tuple[str, ...]] = {
    "by": ("release",),
    "into": ("release",),
    "raw": ("show",),
    "json": ("list", "counts", "show"),
    **dict.fromkeys(("queue", "list", "sender", "older", "newer", "json_lines"), ("list",)),
}


def _find(store: Store, options: argparse.Namespace) -> StoredEntry | None:
    try:
        return store.find(options.id)
    except KeyError:
        report(f"{masked(options.url)}: no entry {options.id!r}")
        return None


def _described(stored: StoredEntry) -> dict[str, Any] | None:
    """Return the data of an entry; None if it was removed or moved meanwhile, by a consumer for example."""
    try:
        data: dict[str, Any] = {"id": stored.id, "queue": stored.queue, "path": stored.place, "arrived": stored.arrived}
        try:
            return data | stored.summary()
        except DamagedEntryError as error:
            return data | {"damage": str(error)}
    except FileNotFoundError:
        return None


def _is_wanted(data: dict[str, Any], options: argparse.Namespace, now: float) -> bool:
    """Return whether the options select an entry; a damaged one has neither list nor sender."""
    age = now - data["arrived"]
    return (
        (options.queue is None or data["queue"] == options.queue)
        and (options.list is None or fold_address(data.get("list") or "") == fold_address(options.list))
        and (options.sender is None or fold_address(data.get("reverse_path", "?")) == fold_address(options.sender.strip("<>")))
        and (options.older is None or age > options.older)
        and (options.newer is None or age < options.newer)
    )


def _line(data: dict[str, Any], now: float) -> str:
    if "damage" in data:
        return f"{data['queue']:8} {data['id']}: {data['damage']}"
    sender, recipient = data["reverse_path"] or "<>", data["forward_path"]
    facts = f"{data['octets']:>9} {_age(now - data['arrived']):>4} {sender} -> {recipient} {data['message_id'] or '-'}"
    return f"{data['queue']:8} {data['id']} {facts} {data['verdict']}"


def _age(seconds: float) -> str:
    """Return an age in its largest unit that fits."""
    unit = max((unit for unit, length in _UNITS.items() if length <= max(seconds, 1)), key=_UNITS.__getitem__)
    return f"{max(0, int(seconds)) // _UNITS[unit]}{unit}"
