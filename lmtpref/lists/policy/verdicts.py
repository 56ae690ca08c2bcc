"""What a rule can say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lmtpref.protocol.errors import UsageError
from lmtpref.protocol.replies import Reply


@dataclass(frozen=True, slots=True)
class Accept:
    """Take it."""

    reply: ClassVar[None] = None

    def __str__(self) -> str:
        return "accept"


@dataclass(frozen=True, slots=True)
class Hold:
    """Take it, and let a moderator see it first: queue `hold`."""

    reason: str
    reply: ClassVar[None] = None

    def __str__(self) -> str:
        return f"hold ({self.reason})"


@dataclass(frozen=True, slots=True)
class Discard:
    """Take it, and keep it from being distributed: queue `discard`."""

    reason: str
    reply: ClassVar[None] = None

    def __str__(self) -> str:
        return f"discard ({self.reason})"


@dataclass(frozen=True, slots=True)
class Reject:
    """Do not take it, ever; `reply` is a 5xx.  Raises UsageError for another."""

    reply: Reply

    def __post_init__(self) -> None:
        _check_class(self.reply, 5)

    def __str__(self) -> str:
        return f"reject ({self.reply})"


@dataclass(frozen=True, slots=True)
class Defer:
    """Do not take it now; `reply` is a 4xx.  Raises UsageError for another."""

    reply: Reply

    def __post_init__(self) -> None:
        _check_class(self.reply, 4)

    def __str__(self) -> str:
        return f"defer ({self.reply})"


# `reply` is what the client is told; None stands for the usual positive reply.
Verdict = Accept | Hold | Discard | Reject | Defer
ACCEPT = Accept()


def _check_class(reply: Reply, class_: int) -> None:
    if reply.code // 100 != class_ or reply.enhanced is None:
        raise UsageError(f"a {class_}xx reply with an enhanced status code is needed, not {reply}")
