"""A Mailman in this process for the page about its directory: its configuration file, and the cast's lists in its database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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


def write_configuration(folder: Path) -> Path:
    """Write a mailman.cfg for an installation in `folder` and return its path."""
    path = folder / "mailman.cfg"
    path.write_text(CONFIGURATION.format(folder=folder))
    return path


def initialize(path: Path) -> None:
    """Initialize the Mailman of this process, which creates its database."""
    from mailman.core.initialize import initialize as start

    start(str(path))


def subscribe(mlist: Any, email: str, role: str = "member", action: str | None = None) -> Any:
    """Subscribe an address, which is created and verified if there is none, and return the membership."""
    from mailman.interfaces.action import Action
    from mailman.interfaces.member import MemberRole
    from mailman.interfaces.usermanager import IUserManager
    from mailman.utilities.datetime import now
    from zope.component import getUtility

    manager = getUtility(IUserManager)
    address = manager.get_address(email) or manager.create_address(email)
    address.verified_on = now()
    member = mlist.subscribe(address, MemberRole[role])
    if action:
        member.moderation_action = Action[action]
    return member
