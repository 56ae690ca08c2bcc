"""Generated databases for the page about Mailman's directory: only pages that have GNU Mailman import this."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from mailman.app.lifecycle import create_list
from mailman.config import config
from mailman.database.model import Model
from mailman.interfaces.action import Action
from mailman.interfaces.bans import IBanManager
from mailman.interfaces.domain import IDomainManager
from mailman.interfaces.member import AlreadySubscribedError
from mailman.interfaces.usermanager import IUserManager
from mailman.utilities.datetime import now
from mailman_lists import subscribe
from zope.component import getUtility

NAMES = ("ant@lists.example", "bee@other.example", "ant-request@lists.example")
SENDERS = ("anne@home.test", "anne@work.test", "bart@home.test", "cris@spam.test", "no|pe@home.test")
ENTRIES = (
    "bart@home.test",
    "^.*@home",
    "^ann",
    "^.*@SPAM",
    "^(",
    "^(?!bart).*@home",
    "@bee@other.example",
    "@ant@lists.example",
    "@no@x.test",
)
RECIPIENTS = (
    "ant@lists.example",
    "ANT-request@lists.example",
    "ant+tag@lists.test",
    "bee-bounces+x@lists.test",
    "bee@other.example",
    "no@x.test",
)
ACTIONS = ("hold", "reject", "discard", "accept", "defer")

action = st.sampled_from((*ACTIONS, None))
entries = st.lists(st.sampled_from(ENTRIES), max_size=2)
settings = st.fixed_dictionaries(
    {
        "emergency": st.sampled_from((False, False, False, True)),
        "posting_chain": st.sampled_from((*["default-posting-chain"] * 5, "hold")),
        "default_member_action": st.sampled_from(ACTIONS),
        "default_nonmember_action": st.sampled_from(ACTIONS),
        **{f"{name}_these_nonmembers": entries for name in ("accept", "hold", "reject", "discard")},
    }
)
list_number = st.sampled_from((0, 0, 1))
# A user with several addresses, the first one preferred, and whether that was unlinked afterwards.
user = st.tuples(st.lists(st.sampled_from(SENDERS[:4]), min_size=1, max_size=3, unique=True), st.booleans())
# The list, the address, whether its user is subscribed instead, the role and the moderation action.
role = st.sampled_from(("member", "member", "nonmember", "owner"))
membership = st.tuples(list_number, st.sampled_from(SENDERS[:4]), st.booleans(), role, action)
ban = st.tuples(st.one_of(st.none(), list_number), st.sampled_from(ENTRIES))
worlds = st.fixed_dictionaries(
    {
        "aliases": st.tuples(st.sampled_from(("lists.test", None)), st.sampled_from(("lists.test", "lists.example", None))),
        "lists": st.lists(settings, min_size=2, max_size=3),
        "users": st.lists(user, max_size=2),
        "memberships": st.lists(membership, max_size=6),
        "bans": st.lists(ban, max_size=1),
    }
)


def build(world: dict[str, Any]) -> None:
    """Put `world` into the database of this process's Mailman, in place of what it has."""
    with config.db.engine.begin() as connection:
        for table in reversed(Model.metadata.sorted_tables):
            connection.execute(table.delete())
    try:
        lists = _add_lists(world)
        _add_users(world["users"])
        for number, email, as_user, role, action in world["memberships"]:
            _subscribe(lists[number], email, role, action, as_user=as_user)
        # Mailman does not subscribe an address that is banned, so the bans come last.
        for number, entry in world["bans"]:
            IBanManager(None if number is None else lists[number]).ban(entry)
        config.db.commit()
    finally:
        config.db.abort()
        config.db.close_session()


def _add_lists(world: dict[str, Any]) -> list[Any]:
    for host, alias in zip(("lists.example", "other.example"), world["aliases"], strict=True):
        getUtility(IDomainManager).add(host, alias_domain=alias)
    lists = [create_list(name) for name, _ in zip(NAMES, world["lists"], strict=False)]
    for mlist, values in zip(lists, world["lists"], strict=True):
        for key, value in values.items():
            setattr(mlist, key, Action[value] if key.endswith("_action") else value)
    return lists


def _add_users(users: list[tuple[list[str], bool]]) -> None:
    manager = getUtility(IUserManager)
    for emails, unlinked in users:
        addresses = [manager.create_address(email) for email in emails if manager.get_address(email) is None]
        user = manager.create_user()
        for address in addresses:
            user.link(address)
            address.verified_on = now()
        if addresses:
            user.preferred_address = addresses[0]
            if unlinked:
                user.unlink(addresses[0])


def _subscribe(mlist: Any, email: str, role: str, action: str | None, *, as_user: bool) -> None:  # noqa: ANN401 - Mailman has no types
    address = getUtility(IUserManager).get_address(email)
    has_user = address is not None and address.user is not None and address.user.preferred_address is not None
    try:
        subscribe(mlist, email, role, action, as_user=as_user and has_user)
    except AlreadySubscribedError:
        return
