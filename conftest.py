"""How the documents are played.  LMTP_WIRES says on what: memory (the default), tcp, unix, or several of them."""

import faulthandler
import os
from functools import partial

import pytest
from grammar import LANGUAGE, Grammar
from reader_project import ConsoleBlocks, ProjectFiles, PythonBlocks
from sybil import Example, Sybil
from sybil.integration.pytest import SybilItem
from sybil.parsers.rest import CodeBlockParser, DocTestParser, SkipParser
from sybil.sybil import SybilCollection
from sybil.typing import Parser
from world import Transcripts, begin, connect, end, flip

from lmtpref.doctools.sybil import identify

# Sybil 10.1.0's own ends the whole run at a traceback of one entry, such as a warning or a chained exception has.
SybilItem._traceback_filter = lambda self, excinfo: excinfo.traceback  # type: ignore[method-assign]  # noqa: ARG005, SLF001

# Commands that the pages start must flush what others wait for, wherever the pages are played.
os.environ.pop("PYTHONUNBUFFERED", None)
# The process must end soon after its last example: a thread that keeps it alive is a hang.
EXIT_SECONDS = 60


class Pages(Sybil):
    """The documents, their transcripts on one wire; examples go by their names."""

    def identify(self, example: Example) -> str:
        """Return the name of an example."""
        return identify(example, self.name)


PARSERS: list[Parser] = [
    Transcripts(connect, flip=flip),
    DocTestParser(),
    PythonBlocks(),
    ProjectFiles(),
    ConsoleBlocks(),
    CodeBlockParser(LANGUAGE, Grammar.define),
    SkipParser(),
]
WIRES = os.environ.get("LMTP_WIRES", "memory").split(",")
MTA_PAGES = ["mta/postfix.rst", "mta/exim.rst", "mta/sendmail.rst"]  # they need root and Debian's packages
if "LMTP_MTAS" in os.environ:
    from harness import PARSERS as MTA_PARSERS
    from harness import begin_page, end_page

    PAGES = [Pages([*MTA_PARSERS, *PARSERS[1:]], patterns=MTA_PAGES, setup=begin_page, teardown=end_page)]
else:
    PAGES = [
        Pages(PARSERS, name=wire.removeprefix("memory"), pattern="*.rst", excludes=MTA_PAGES, setup=partial(begin, wire), teardown=end)
        for wire in WIRES
    ]
pytest_collect_file = SybilCollection(PAGES).pytest()


def pytest_report_header() -> str:
    """Return the line that names the pages this run leaves out."""
    return "" if "LMTP_MTAS" in os.environ else f"left out, for `nox -s mtas`: {' '.join(MTA_PAGES)}"


def pytest_unconfigure(config: pytest.Config) -> None:
    """Show where every thread waits, and exit with an error, if the process does not end by itself.

    A worker of pytest-xdist waits for the other workers, however long their pages take.
    """
    if not hasattr(config, "workerinput"):
        faulthandler.dump_traceback_later(EXIT_SECONDS, exit=True)
