"""Summaries of entries for lists of them."""

from __future__ import annotations

from typing import Any

from lmtpref.lists.policy.header import Header
from lmtpref.lists.policy.verdicts import Discard, Hold
from lmtpref.lists.queues.memory import Entry


def summary_of(entry: Entry) -> dict[str, Any]:
    """Return the envelope, the verdict and the Message-ID of an entry, as data for JSON."""
    return {
        "list": entry.list,
        "subaddress": entry.subaddress,
        "detail": entry.detail,
        "reverse_path": entry.reverse_path,
        "forward_path": entry.forward_path,
        "verdict": str(entry.verdict),
        "reason": entry.verdict.reason if isinstance(entry.verdict, Hold | Discard) else None,
        "moderator": entry.moderator or None,
        "octets": len(entry.content),
        "message_id": Header(entry.content).message_id,
    }
