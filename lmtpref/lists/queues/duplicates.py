"""Recognition of duplicates: a message that an MTA sent again because it did not get the reply.

The engines in SQL drop a duplicate (`sql.queues`).  RabbitMQ stores it with the message id of the first, by which a consumer
can drop it.  The spool stores both.
"""

from __future__ import annotations

import hashlib
import re

from lmtpref.lists.addresses import fold_address
from lmtpref.lists.queues.memory import Entry

_RECEIVED = re.compile(rb"^received[ \t]*:", re.IGNORECASE | re.MULTILINE)
_HEADER_END = re.compile(rb"\r?\n\r?\n")


def duplicate_key(entry: Entry, content_digest: bytes) -> str:
    """Return a digest that two entries share if they have equal content, reverse-path, list, sub-address and detail.

    Entries without a list, such as mail for postmaster, also need equal forward-paths.
    """
    place = fold_address(entry.forward_path) if entry.list is None else entry.list
    parts = (entry.reverse_path, place, entry.subaddress or "", "" if entry.detail is None else f"+{entry.detail}")
    return hashlib.sha256(content_digest + "\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


def has_received(content: bytes) -> bool:
    """Return whether the header has a Received field.

    The field contains an MTA's queue id, which distinguishes two posts.  Without it, two equal messages may be two posts.
    """
    end = _HEADER_END.search(content)
    return bool(_RECEIVED.search(content, 0, end.start() if end else len(content)))
