"""An entry as JSON, for consumers in any language."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode

from lmtpref.lists.queues.entry_file import UNREADABLE, DamagedEntryError, describe, fault_in, restore
from lmtpref.lists.queues.memory import Entry

CONTENT_TYPE = "application/json"

# Made once, because a server writes the JSON of every entry.
_encode = json.JSONEncoder(check_circular=False).encode


def envelope_json(entry: Entry) -> str:
    """Return the data from `describe` as JSON, without trace and content."""
    return _encode(describe(entry))


def entry_to_json(entry: Entry, content: bytes | None = None) -> bytes:
    """Return the entry as JSON: the data from `describe`, with trace and content in base64 (RFC 4648 section 4).

    `content` is the entry's content in base64 already, if entries share it; entry.schema.json describes the result.
    """
    envelope = envelope_json(entry)[:-1].encode()
    return b'%s, "trace": "%s", "content": "%s"}' % (envelope, b64encode(entry.trace), content or b64encode(entry.content))


def entry_from_json(octets: bytes) -> Entry:
    """Return the entry that was written as `octets`, without its trail.

    Raises DamagedEntryError: if the JSON is unreadable or incomplete.
    """
    try:
        data = json.loads(octets)
        return restore(data, b64decode(data["trace"], validate=True), b64decode(data["content"], validate=True))
    except UNREADABLE as error:
        raise DamagedEntryError(f"its JSON cannot be read: {fault_in(error)}") from None
