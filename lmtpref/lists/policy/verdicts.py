"""The verdicts that a rule can return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lmtpref.protocol.errors import UsageError
from lmtpref.protocol.replies import Reply


@dataclass(frozen=True, slots=True)
class Accept:
    """Accept the message."""

    reply: ClassVar[None] = None

    def __str__(self) -> str:
        return "accept"


@dataclass(frozen=True, slots=True)
class Hold:
    """Accept the message and hold it for a moderator, in the queue `hold`."""

    reason: str
    reply: ClassVar[None] = None

    def __str__(self) -> str:
        return f"hold ({self.reason})"


@dataclass(frozen=True, slots=True)
class Discard:
    """Accept the message and do not distribute it; it goes to the queue `discard`."""

    reason: str
    reply: ClassVar[None] = None

    def __str__(self) -> str:
        return f"discard ({self.reason})"


@dataclass(frozen=True, slots=True)
class Reject:
    """Reject permanently, with `reply`.

    Raises UsageError: if `reply` is not a 5xx with an enhanced status code.
    """

    reply: Reply

    def __post_init__(self) -> None:
        _check_class(self.reply, 5)

    def __str__(self) -> str:
        return f"reject ({self.reply})"


@dataclass(frozen=True, slots=True)
class Defer:
    """Reject for now, with `reply`, so that the client retries.

    Raises UsageError: if `reply` is not a 4xx with an enhanced status code.
    """

    reply: Reply

    def __post_init__(self) -> None:
        _check_class(self.reply, 4)

    def __str__(self) -> str:
        return f"defer ({self.reply})"


# `reply` is the reply to the client; None stands for the usual positive reply.
Verdict = Accept | Hold | Discard | Reject | Defer
ACCEPT = Accept()

# A verdict that a rule may return, but for its reason or its text: its class, or its reply.
Allowed = type[Accept] | type[Hold] | type[Discard] | type[Reject] | type[Defer] | Reply

_CLASSES: tuple[object, ...] = (Accept, Hold, Discard, Reject, Defer)


def kinds_of(allowed: tuple[Allowed, ...]) -> frozenset[object]:
    """Return the classes in `allowed`, and the code and enhanced code of each reply there.

    Raises UsageError: for anything else, or a reply that no verdict can have.
    """
    return frozenset(_kind(item) for item in allowed)


def _kind(item: object) -> object:
    if isinstance(item, Reply):
        _check_class(item, 4 if item.code < 500 else 5)
        return item.code, item.enhanced
    if item not in _CLASSES:
        raise UsageError(f"a rule may return a class of verdicts or a reply, not {item!r}")
    return item


def _check_class(reply: Reply, class_: int) -> None:
    if reply.code // 100 != class_ or reply.enhanced is None:
        raise UsageError(f"a {class_}xx reply with an enhanced status code is needed, not {reply}")
