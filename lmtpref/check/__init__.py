"""The conformance suite: tests of any LMTP server or client against the transcripts of the documents."""

from lmtpref.check.cases import Case, load, select
from lmtpref.check.conditions import Condition, conditions
from lmtpref.check.results import CaseVerdict, Result, Run
from lmtpref.check.runner import CheckOptions, each, examine, run
from lmtpref.check.target import CommandTarget, ListeningTarget, Target
from lmtpref.check.world import World

__all__ = [
    "Case",
    "CaseVerdict",
    "CheckOptions",
    "CommandTarget",
    "Condition",
    "ListeningTarget",
    "Result",
    "Run",
    "Target",
    "World",
    "conditions",
    "each",
    "examine",
    "load",
    "run",
    "select",
]
