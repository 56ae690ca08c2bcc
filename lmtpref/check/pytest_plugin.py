"""The suite inside another project's tests: a test that asks for `lmtp_case` runs once for each case.

A project names this module in `pytest_plugins`, and overrides the fixture `lmtp_check_target`.  To change the options,
it also overrides `lmtp_check_options`.
"""

from __future__ import annotations

import pytest

from lmtpref.check.cases import Case, load
from lmtpref.check.probe import Probe
from lmtpref.check.report_text import failure
from lmtpref.check.results import CaseVerdict
from lmtpref.check.runner import CheckOptions, examine, play_case
from lmtpref.check.target import ListeningTarget, Target


class CheckedCase:
    """One case, and the target to test."""

    def __init__(self, case: Case, target: Target, found: Probe, options: CheckOptions) -> None:
        self.case = case
        self._target, self._found, self._options = target, found, options

    def check(self) -> None:
        """Play the case.  Skip the test if the case does not apply, and fail it, with the report, if the target fails."""
        __tracebackhide__ = True
        result = play_case(self.case, self._target, self._found, self._options).result
        if result.verdict is CaseVerdict.SKIPPED:
            pytest.skip(result.reason)
        if result.is_failure:
            pytest.fail(failure(result), pytrace=False)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize a test of `lmtp_case` with each case of the protocol suite."""
    if "lmtp_case" in metafunc.fixturenames:
        cases = _cases()
        metafunc.parametrize("lmtp_case", cases, ids=[case.id for case in cases], indirect=True)


@pytest.fixture(scope="session")
def lmtp_check_target() -> str | Target:
    """The tested server; a project overrides this fixture."""
    raise pytest.UsageError("override the fixture lmtp_check_target: it returns HOST:PORT, unix:PATH, or a Target of lmtpref.check")


@pytest.fixture(scope="session")
def lmtp_check_options() -> CheckOptions:
    """The options for playing the cases."""
    return CheckOptions()


@pytest.fixture(scope="session")
def _lmtp_checked(lmtp_check_target: str | Target, lmtp_check_options: CheckOptions) -> tuple[Target, Probe, CheckOptions]:
    """The target, and the result of a first conversation."""
    target = ListeningTarget(lmtp_check_target) if isinstance(lmtp_check_target, str) else lmtp_check_target
    return target, examine(_cases(), target, lmtp_check_options), lmtp_check_options


@pytest.fixture
def lmtp_case(request: pytest.FixtureRequest, _lmtp_checked: tuple[Target, Probe, CheckOptions]) -> CheckedCase:
    """One case; `lmtp_case.check()` plays it."""
    return CheckedCase(request.param, *_lmtp_checked)


def _cases() -> list[Case]:
    return [case for case in load() if case.suite == "protocol"]
