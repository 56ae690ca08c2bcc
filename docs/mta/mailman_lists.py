"""A Mailman in this process, for pages that read its database: only pages that have GNU Mailman import this."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mailman.core.initialize import initialize
from mailman.interfaces.action import Action
from mailman.interfaces.member import MemberRole
from mailman.interfaces.usermanager import IUserManager
from mailman.utilities.datetime import now
from zope.component import getUtility

CONFIGURATION = """\
[mailman]
layout: here
[paths.here]
var_dir: {folder}/var
[database]
url: sqlite:///{folder}/mailman.db
[mta]
incoming: mailman.mta.null.NullMTA
"""


def make_mailman(folder: Path) -> Path:
    """Initialize this process's Mailman in `folder`, with an empty database, and return its configuration file."""
    path = folder / "mailman.cfg"
    path.write_text(CONFIGURATION.format(folder=folder))
    initialize(str(path))
    return path


def subscribe(mlist: Any, email: str, role: str = "member", action: str | None = None, *, as_user: bool = False) -> Any:  # noqa: ANN401 - Mailman has no types
    """Subscribe an address, or the user who has it, and return the membership; a missing address is created."""
    manager = getUtility(IUserManager)
    address = manager.get_address(email) or manager.create_address(email)
    address.verified_on = now()
    member = mlist.subscribe(address.user if as_user else address, MemberRole[role])
    member.moderation_action = Action[action] if action else None
    return member
