"""Generated databases for the page about Mailman's directory: lists, users, addresses, memberships and bans."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

NAMES = ("ant", "bee", "ant-request")
HOSTS = ("lists.example", "other.example")
SENDERS = ("anne@home.test", "anne@work.test", "bart@home.test", "cris@spam.test", "o'dell@home.test", "no|pe@home.test")
ENTRIES = ("bart@home.test", "^.*@home", "^ann", "^.*@SPAM", "^(", "^(?!bart).*@home", "@bee@lists.example", "@ant@lists.example", "@no@x.test")
ACTIONS = ("hold", "reject", "discard", "accept", "defer")
action = st.sampled_from((*ACTIONS, None))
entries = st.lists(st.sampled_from(ENTRIES), max_size=2)

mailing_list = st.fixed_dictionaries(
    {
        "emergency": st.sampled_from((False, False, False, True)),
        "posting_chain": st.sampled_from(("default-posting-chain",) * 5 + ("hold",)),
        "default_member_action": st.sampled_from(ACTIONS),
        "default_nonmember_action": st.sampled_from(ACTIONS),
        **{f"{name}_these_nonmembers": entries for name in ("accept", "hold", "reject", "discard")},
    }
)
place = st.tuples(st.sampled_from(NAMES), st.sampled_from(HOSTS))
# A user with several addresses, the preferred one, and whether that was unlinked afterwards.
user = st.tuples(st.lists(st.sampled_from(SENDERS[:5]), min_size=1, max_size=3, unique=True), st.sampled_from((False, False, True)))
# Subscribed: an address, or the user who has it.
membership = st.tuples(st.sampled_from(SENDERS[:5]), st.booleans(), st.sampled_from(("member", "member", "nonmember", "owner")), action)
world = st.fixed_dictionaries(
    {
        "aliases": st.lists(st.sampled_from(("lists.test", "other.example", None)), min_size=2, max_size=2),
        "lists": st.dictionaries(place, mailing_list, min_size=1, max_size=3),
        "users": st.lists(user, max_size=2),
        "memberships": st.lists(st.tuples(place, membership), max_size=5),
        "bans": st.lists(st.tuples(st.one_of(st.none(), place), st.sampled_from(ENTRIES)), max_size=2),
    }
)


def build(world: dict[str, Any]) -> None:
    """Put `world` into the database of the Mailman in this process, in place of what it has, and commit."""
    from mailman.config import config
    from mailman.database.model import Model

    with config.db.engine.begin() as connection:
        for table in reversed(Model.metadata.sorted_tables):
            connection.execute(table.delete())
    try:
        _add_lists(world)
        _add_users(world["users"])
        for place, membership in world["memberships"]:
            _subscribe(place, *membership)
        # Mailman does not subscribe an address that is banned.
        _ban(world["bans"])
        config.db.commit()
    finally:
        config.db.abort()
        config.db.close_session()


def _add_lists(world: dict[str, Any]) -> None:
    from mailman.interfaces.action import Action
    from mailman.interfaces.domain import IDomainManager
    from mailman.interfaces.listmanager import IListManager
    from zope.component import getUtility

    for host, alias in zip(HOSTS, world["aliases"], strict=True):
        getUtility(IDomainManager).add(host, alias_domain=alias)
    for (name, host), settings in world["lists"].items():
        mlist = getUtility(IListManager).create(f"{name}@{host}")
        for key, value in settings.items():
            setattr(mlist, key, Action[value] if key.endswith("_action") else value)


def _ban(bans: list[tuple[tuple[str, str] | None, str]]) -> None:
    from mailman.interfaces.bans import IBanManager
    from mailman.interfaces.listmanager import IListManager
    from zope.component import getUtility

    for place, entry in bans:
        mlist = place and getUtility(IListManager).get_by_fqdn("@".join(place))
        if place is None or mlist is not None:
            IBanManager(mlist).ban(entry)


def _add_users(users: list[tuple[list[str], bool]]) -> None:
    from mailman.interfaces.usermanager import IUserManager
    from mailman.utilities.datetime import now
    from zope.component import getUtility

    manager = getUtility(IUserManager)
    for emails, unlinked in users:
        new = [manager.create_address(email) for email in emails if manager.get_address(email) is None]
        if not new:
            continue
        owner = manager.create_user()
        for address in new:
            owner.link(address)
            address.verified_on = now()
        owner.preferred_address = new[0]
        if unlinked:
            owner.unlink(new[0])


def _subscribe(place: tuple[str, str], email: str, by_user: bool, role: str, action: str | None) -> None:  # noqa: FBT001
    from mailman.interfaces.action import Action
    from mailman.interfaces.listmanager import IListManager
    from mailman.interfaces.member import AlreadySubscribedError, MemberRole
    from mailman.interfaces.usermanager import IUserManager
    from mailman.utilities.datetime import now
    from zope.component import getUtility

    mlist = getUtility(IListManager).get_by_fqdn("@".join(place))
    if mlist is None:
        return
    manager = getUtility(IUserManager)
    address = manager.get_address(email) or manager.create_address(email)
    address.verified_on = now()
    subscriber = address.user if by_user and address.user and address.user.preferred_address else address
    try:
        member = mlist.subscribe(subscriber, MemberRole[role])
    except AlreadySubscribedError:
        return
    member.moderation_action = Action[action] if action else None
