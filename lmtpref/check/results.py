"""Results: the verdict on each case, and its reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from lmtpref.check.requirements import Requirement, Strength


class CaseVerdict(StrEnum):
    """The verdict on a case."""

    PASS = "pass"  # noqa: S105 - the verdict
    NON_STRICT = "pass (non-strict)"  # in a way that is allowed, or against a SHOULD or a MAY only
    FAIL = "fail"
    SKIPPED = "skipped"  # it does not apply to this target
    NOT_REACHED = "not reached"  # a precondition of it failed
    ERROR = "error"  # of the suite, or of the connection


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one case, with all data for a report.

    `got` describes how the replies differed; `wire` is the transcript of the conversation; `known` is the reason for an
    expected failure.
    """

    id: str
    page: str
    line: int
    strength: Strength
    requirements: tuple[Requirement, ...]
    verdict: CaseVerdict
    reason: str = ""
    got: str = ""
    wire: str = ""
    known: str = ""

    @property
    def is_failure(self) -> bool:
        """Whether the target failed the case, or the verdict could not be determined."""
        return self.verdict in {CaseVerdict.FAIL, CaseVerdict.ERROR, CaseVerdict.NOT_REACHED}

    @property
    def is_unexpected(self) -> bool:
        """Whether this makes a run fail: an unexpected failure, or an expected one that passed."""
        passed = self.verdict in {CaseVerdict.PASS, CaseVerdict.NON_STRICT}
        return passed if self.known else self.is_failure


@dataclass(frozen=True, slots=True)
class Run:
    """All results of one run, and the description of the run."""

    target: str
    match: str
    strict: bool
    results: Sequence[Result]
    greeting: str = ""
    offers: Mapping[str, str] = field(default_factory=dict)
    problems: Sequence[str] = ()  # of the file of known failures

    @property
    def counts(self) -> Counter[CaseVerdict]:
        """The number of cases with each verdict."""
        return Counter(result.verdict for result in self.results)

    @property
    def skipped(self) -> Counter[str]:
        """The number of skipped cases for each reason."""
        return reasons(result for result in self.results if result.verdict is CaseVerdict.SKIPPED)

    @property
    def unexpected(self) -> list[Result]:
        """The results that make the run fail."""
        return [result for result in self.results if result.is_unexpected]

    @property
    def passed(self) -> bool:
        """Whether nothing unexpected failed or passed."""
        return not self.unexpected and not self.problems


def reasons(results: Iterable[Result]) -> Counter[str]:
    """Return the number of occurrences of each reason."""
    return Counter(result.reason for result in results)
