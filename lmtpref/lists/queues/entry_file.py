"""An entry as a file: one header that holds what the message does not, then the message as it is stored."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from lmtpref.lists.addresses import Subaddress
from lmtpref.lists.policy.verdicts import ACCEPT, Discard, Hold, Verdict
from lmtpref.lists.queues.memory import Entry
from lmtpref.protocol.errors import LmtpError
from lmtpref.protocol.xforward import UNAVAILABLE

VERSION = 1

# The header is JSON, a key on each line, folded as RFC 5322 section 2.2.3 has it.  JSON's own escapes keep every CR and
# LF of a value out of it, so the first "}" at the end of a line ends it; and its blanks may be a fold.
_BEGIN, _END = b"X-Lmtpref-Entry: ", b"}\r\n"
_SEPARATORS = (",\r\n ", ": ")

_TEXTS = ("list", "subaddress", "detail", "reverse_path", "forward_path", "reason", "site_owner")
_KINDS: dict[str, Callable[[Any], Verdict]] = {"accept": lambda _: ACCEPT, "hold": Hold, "discard": Discard}


class DamagedEntryError(LmtpError, ValueError):
    """A file in a spool that is not an entry, or no whole one."""


def pack(entry: Entry) -> tuple[bytes, bytes]:
    """What is written before the content, and the content."""
    header = json.dumps(describe(entry), separators=_SEPARATORS).encode("ascii")
    return b"%s%s\r\n%s" % (_BEGIN, header, entry.head), entry.content


def unpack(octets: bytes) -> Entry:
    """The entry that was written as `octets`, without its trail, which is there for the eye.

    Only what stands at the very beginning is read as ours, and how long the rest is stands there: nothing that the
    sender wrote can pass for it.  Raises DamagedEntryError if octets are missing or too many.
    """
    if not octets.startswith(_BEGIN):
        raise DamagedEntryError("not written by a spool")
    end = octets.find(_END)
    try:
        data = json.loads(octets[len(_BEGIN) : end + 1])
        written = octets[end + len(_END) :]
        entry = restore(data, written[: data["trace_octets"]], written[data["head_octets"] :])
        stored = entry.octets
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DamagedEntryError(f"its header cannot be read: {error}") from None
    if len(entry.content) != data["content_octets"]:
        raise DamagedEntryError(f"not whole: {data['content_octets']} octets of content were written, {len(entry.content)} are here")
    if not octets.endswith(stored):
        raise DamagedEntryError("not what its header says: X-MailFrom or the trace was changed")
    return entry


def describe(entry: Entry) -> dict[str, Any]:
    """Return what an entry holds beside trace and content, as JSON has it."""
    verdict = entry.verdict
    return {
        "version": VERSION,
        "list": entry.list,
        "subaddress": entry.subaddress,
        "detail": entry.detail,
        "reverse_path": entry.reverse_path,
        "forward_path": entry.forward_path,
        "parameters": dict(entry.parameters),
        "origin": {name: value for name, value in entry.origin.items() if value is not None},
        "verdict": type(verdict).__name__.lower(),
        "reason": verdict.reason if isinstance(verdict, Hold | Discard) else None,
        "moderator": entry.moderator,
        "site_owner": entry.site_owner,
        "trail": [str(decision) for decision in entry.trail],
        "trace_octets": len(entry.trace),
        "head_octets": len(entry.head),
        "content_octets": len(entry.content),
    }


def restore(data: dict[str, Any], trace: bytes, content: bytes) -> Entry:
    """Return the entry that `describe` described, without its trail.  Raises ValueError, TypeError or KeyError for other data."""
    for key in _TEXTS:
        if not isinstance(data[key], str | None):
            raise TypeError(f"{key} is no text: {data[key]!r}")
    subaddress = data["subaddress"]
    return Entry(
        content=content,
        trace=trace,
        reverse_path=data["reverse_path"],
        forward_path=data["forward_path"],
        parameters=data["parameters"],
        origin={**UNAVAILABLE, **data["origin"]},
        list=data["list"],
        subaddress=Subaddress(subaddress) if subaddress else None,
        detail=data["detail"],
        verdict=_KINDS[data["verdict"]](data["reason"]),
        site_owner=data["site_owner"],
        moderator=data.get("moderator", ""),
    )
