"""The file format of an entry: a header field with the envelope and the verdict, then the stored message."""

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

# The exceptions with which data are unreadable: those of `json.loads` and of `restore`.
UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, RecursionError)

# The header is JSON with one key a line, folded by RFC 5322 section 2.2.3.  JSON escapes every CR and LF of a value, so the
# first "}" at the end of a line is the end of the header; JSON allows a fold as white space.
_BEGIN, _END = b"X-Lmtpref-Entry: ", b"}\r\n"
_SEPARATORS = (",\r\n ", ": ")

_REQUIRED = ("reverse_path", "forward_path", "site_owner")
_OPTIONAL = ("list", "subaddress", "detail", "reason")
_KINDS: dict[str, Callable[[Any], Verdict]] = {"accept": lambda _: ACCEPT, "hold": Hold, "discard": Discard}


class DamagedEntryError(LmtpError, ValueError):
    """Raised when a file in a spool is not an entry, or not a whole one."""


def pack(entry: Entry) -> tuple[bytes, bytes]:
    """Return the octets written before the content, and the content."""
    header = json.dumps(describe(entry), separators=_SEPARATORS).encode("ascii")
    return b"%s%s\r\n%s" % (_BEGIN, header, entry.head), entry.content


def unpack(octets: bytes) -> Entry:
    """Return the entry that was written as `octets`, without its trail, which is stored for people only.

    Only the header at the very beginning is ours, and it has the lengths of all other parts, so a sender cannot forge it.

    Raises DamagedEntryError: if the header is unreadable, or octets are missing or superfluous.
    """
    if not octets.startswith(_BEGIN):
        raise DamagedEntryError("not written by a spool")
    end = octets.find(_END)
    try:
        data = json.loads(octets[len(_BEGIN) : end + 1])
        written = octets[end + len(_END) :]
        entry = restore(data, written[: data["trace_octets"]], written[data["head_octets"] :])
        stored = entry.octets
    except UNREADABLE as error:
        raise DamagedEntryError(f"its header cannot be read: {fault_in(error)}") from None
    if len(entry.content) != data["content_octets"]:
        raise DamagedEntryError(f"incomplete: {data['content_octets']} octets of content were written, {len(entry.content)} are there")
    if not octets.endswith(stored):
        raise DamagedEntryError("does not match its header: X-MailFrom or the trace was changed")
    return entry


def fault_in(error: Exception) -> str:
    """Return why data are unreadable, for one of the exceptions in `UNREADABLE`."""
    return f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)


def describe(entry: Entry) -> dict[str, Any]:
    """Return the attributes of an entry besides trace and content, as data for JSON."""
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
    """Return the entry for the data from `describe`, without its trail.

    Raises ValueError, TypeError or KeyError: for other data, and for those of another version.
    """
    if data["version"] != VERSION:
        raise ValueError(f"it has version {data['version']!r}, and this program reads version {VERSION}")
    _check_texts(data)
    if data["verdict"] not in _KINDS:
        raise ValueError(f"no verdict {data['verdict']!r}")
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


def _check_texts(data: dict[str, Any]) -> None:
    """Raise TypeError if a value of `data` that is to be a text is not one, and ValueError if X-MailFrom cannot be written."""
    texts = {key: data[key] for key in (*_REQUIRED, *_OPTIONAL)} | {"moderator": data.get("moderator", "")}
    for key, value in (*texts.items(), *data["parameters"].items(), *data["origin"].items()):
        if value is None and key not in _REQUIRED:
            continue
        if not isinstance(value, str):
            raise TypeError(f"{key} is no text: {value!r}")
    data["reverse_path"].encode()
