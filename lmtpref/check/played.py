"""A case that was played, for the runner and for the sweeps over all replies."""

from __future__ import annotations

from dataclasses import dataclass

from lmtpref.check.cases import Case
from lmtpref.check.results import Result
from lmtpref.transcripts.result import PlayResult


@dataclass(frozen=True, slots=True)
class Played:
    """A case that was played: its result, and its outcome if the conversation took place."""

    case: Case
    result: Result
    outcome: PlayResult | None = None
