"""The verdict on a post, derived from what Mailman would do with it."""

from __future__ import annotations

import traceback
from typing import Any

from lmtpref.lists.mailinglist import DirectoryError
from lmtpref.mailman.database import database_errors, own_session
from lmtpref.mailman.foresee import Action, Foreseen, foresee
from lmtpref.mailman.messages import parse
from lmtpref.protocol.catalogue import RULES_REJECT_550, UNKNOWN_LIST_550
from lmtpref.protocol.replies import Reply

MAX_REASON_OCTETS = 200
# A sender can make a rule's recursion a thousand calls deep.
TRACEBACK_CALLS = 8


@own_session()
def judge(list_id: str, content: bytes, sender: str, data: dict[str, Any]) -> Foreseen | None:
    """Return what Mailman will do with a post; None if the list is gone.

    A post for which Mailman's own rules raise an exception is accepted, because Mailman keeps such posts for its postmaster.
    Raises DirectoryError: if the database cannot answer.
    """
    try:
        with database_errors():
            return foresee(list_id, parse(content, sender), data)
    except DirectoryError:
        raise
    except Exception:  # noqa: BLE001 - whatever a rule raises
        return Foreseen(Action.ACCEPT, failure=traceback.format_exc(limit=-TRACEBACK_CALLS))


def reply_to_post(foreseen: Foreseen | None, discard: str) -> Reply | None:
    """Return the reply that rejects a post; None to accept it.

    `discard` says whether a post that Mailman would discard is accepted or rejected.
    """
    if foreseen is None:
        return UNKNOWN_LIST_550
    if foreseen.action is Action.REJECT or (foreseen.action is Action.DISCARD and discard == "reject"):
        return _rejection(foreseen.reasons)
    return None


def _rejection(reasons: tuple[str, ...]) -> Reply:
    """Return 550 5.7.2 with Mailman's first reason, shortened to fit into a reply."""
    text = reasons[0][:MAX_REASON_OCTETS] if reasons else ""
    return Reply(550, "5.7.2", text) if text.isascii() and text.isprintable() and text.strip() else RULES_REJECT_550
