"""Forecasts by other list software, which judges posts after it has received them."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

from lmtpref.protocol.replies import Reply
from lmtpref.protocol.syntax import Path


class ForecastRule(NamedTuple):
    """A rule that was asked, the chain of rules that has it, and whether it hit."""

    chain: str
    rule: str
    hit: bool


class Forecast(NamedTuple):
    """The action of the software on a post, its reasons, the rules that were asked, in order, and the reply at the end of data.

    `reply` is None if the software's LMTP server replies before it knows the action.
    """

    action: str
    reasons: tuple[str, ...]
    rules: tuple[ForecastRule, ...]
    reply: Reply | None = None


@runtime_checkable
class Forecaster(Protocol):
    """A directory that can ask the software to which its lists belong."""

    def start_forecasts(self) -> None:
        """Get ready; call it before the process has threads.  Raises ConfigurationError."""

    async def forecast(self, recipient: Path, sender: Path | None, content: bytes) -> Forecast | None:
        """Return the forecast for a post; None if `recipient` is not a list's posting address.

        Raises DirectoryError: if the software does not answer.
        """
