"""Facts in words, for `explain`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import cast

from lmtpref.lists import Lookup, MailingList, RecipientFacts, Standing
from lmtpref.lists.persons import Persons
from lmtpref.lists.policy.header import Header
from lmtpref.protocol.handler import Peer

MAX_CHARACTERS = 200
_NOTHING = (None, False, "")


def described(facts: object) -> dict[str, str]:
    """Return the facts of a rule by name; false, empty and unknown facts are left out."""
    return dict(_flat(facts._asdict())) if isinstance(facts, tuple) and hasattr(facts, "_asdict") else {}


def _flat(facts: dict[str, object]) -> Iterator[tuple[str, str]]:
    for name, value in facts.items():
        if name == "sender" and value is None:
            yield name, "<>"
        elif isinstance(value, Lookup):
            yield from _flat(value._asdict())
        elif name == "header" and facts.get("author"):
            yield name, f"Received: {cast(Header, value).received}"
        # RecipientFacts were printed at RCPT, and Persons holds all persons of the server.
        elif value not in _NOTHING and not isinstance(value, RecipientFacts | Persons):
            yield name, _words(value)


def _words(value: object) -> str:
    match value:
        case bool():
            words = "yes"
        case Peer():
            words = f"{value.address or 'on a Unix socket'}, {'known' if value.known else 'unknown'}"
        case MailingList():
            words = ", ".join([value.address, *_settings(value)])
        case Standing():
            words = _standing(value)
        case Header():
            words = f"from {', '.join(path.address for path in value.senders) or 'no sender'}; Received: {value.received}"
        case bytes():
            words = f"{len(value)} octets"
        case tuple() if value and all(isinstance(item, RecipientFacts) for item in value):
            words = ", ".join(item.recipient.address for item in value)
        case _:
            words = str(value)
    return words[:MAX_CHARACTERS].replace("\n", " ")


def _standing(standing: Standing) -> str:
    if not standing.known:
        return "not known: the members cannot be read"
    holds = [name for name in ("member", "moderated", "listed", "banned") if getattr(standing, name)] or ["a stranger"]
    return ", ".join(holds + [f"action = {standing.action}"] * bool(standing.action))


def _settings(mailing_list: MailingList) -> Iterator[str]:
    """Yield the settings with one value that differ from their defaults."""
    for field in fields(mailing_list):
        value = getattr(mailing_list, field.name)
        if field.init and isinstance(value, str | int) and field.name != "address" and value != field.default:
            yield f"{field.name} = {value}"
