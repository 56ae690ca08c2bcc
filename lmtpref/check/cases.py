"""Cases: the transcripts of the documents, each with its requirements and its preconditions."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from lmtpref.check import requirements, usage
from lmtpref.check.alternatives import alternatives, idle
from lmtpref.check.requirements import STRENGTHS, Requirement, Strength
from lmtpref.protocol.errors import UsageError
from lmtpref.transcripts.finder import named_in, shipped
from lmtpref.transcripts.notation import Transcript, parse

Suite = Literal["protocol", "acceptance", "client"]

_FOLDERS: dict[str, Suite] = {"rfc2033": "protocol", "extensions": "protocol", "acceptance": "acceptance"}
RECIPIENTS = ("ant@lists.example", "bee@lists.example", "cat@lists.example")
UNKNOWN = "nobody@lists.example"
ADDRESSES = frozenset({*RECIPIENTS, UNKNOWN})  # sufficient for the cases without a condition
# The condition of cases whose page makes a handler of its own.
NOT_FOR_OTHERS = "handler"
# The condition of acceptance transcripts that state none, because their page makes the lists.
PAGE = "page"
# The condition of acceptance transcripts that need no list, only addresses; `check` tries these itself, so every server is in it.
ADDRESSES_ONLY = ("addresses",)


@dataclass(frozen=True)
class Case:
    """One transcript, to be played to a tested program."""

    page: str  # without its suffix: rfc2033/4.2-data
    suite: Suite
    transcript: Transcript
    requirements: tuple[Requirement, ...]

    @property
    def id(self) -> str:
        """The name of the transcript."""
        return self.transcript.name or ""

    @property
    def line(self) -> int:
        """The number of the first line of the dialogue in its page."""
        return self.transcript.lines[0].number

    @property
    def strength(self) -> Strength:
        """The strength of the strongest clause in the case that binds this party.

        It is MUST for a case that cites no clause, because the documents then define the behaviour.
        """
        party = "client" if self.suite == "client" else "server"
        binding = [requirement.strength for requirement in self.requirements if requirement.party in {party, "both"}]
        return min(binding, key=STRENGTHS.index, default="MAY" if self.requirements else "MUST")

    @property
    def given(self) -> tuple[str, ...]:
        """The conditions that the server must be in."""
        stated = self.transcript.values("given")
        if stated == ADDRESSES_ONLY:
            return ()
        return stated or ((PAGE,) if self.suite == "acceptance" else ())

    @property
    def needs(self) -> tuple[str, ...]:
        """The extensions that the case uses; `no X` for one that must not be offered, `X Y` for one with the parameter Y."""
        stated = self.transcript.values("needs")
        unstated = usage.extensions(self.transcript) - {need.split()[0] for need in stated} - set(self.offers)
        return (*stated, *sorted(unstated))

    @property
    def offers(self) -> tuple[str, ...]:
        """The extensions that LHLO's reply must list."""
        return self.transcript.values("offers")

    @cached_property
    def accept(self) -> dict[int, tuple[str, ...]]:
        """Further codes that are correct, by the line of the reply."""
        return alternatives(self.transcript)

    @cached_property
    def messages(self) -> int:
        """The number of messages that a passing server has accepted in the case."""
        return usage.messages(self.transcript)

    @property
    def problems(self) -> list[str]:
        """The errors in the head lines, a line each."""
        unstated = [need for need in self.needs if need not in self.transcript.values("needs") and NOT_FOR_OTHERS not in self.given]
        problems = [f"{self.id}: uses {extension}, which `needs` does not state" for extension in unstated]
        if not self.given:
            addresses = (*usage.recipients(self.transcript), *usage.rejected(self.transcript))
            problems += [f"{self.id}: uses {address}, without a condition" for address in addresses if address.lower() not in ADDRESSES]
        return problems + [f"{self.id}: `accept: {value}` applies to no reply" for value in idle(self.transcript)]


def load(docs: Path | None = None) -> tuple[Case, ...]:
    """Return every case of `docs`, by default the documents that come with lmtpref."""
    folder = docs or shipped()
    clauses = requirements.load(folder)
    return tuple(case for page in sorted(folder.rglob("*.rst")) for case in _of_page(page, folder, clauses))


def select(cases: Iterable[Case], wanted: Sequence[str]) -> list[Case]:
    """Return the cases that any of `wanted` names: an id, a page, a clause or the beginning of one; `*` matches any text.

    Return all cases if `wanted` is empty.  Raises UsageError for a name that matches no case.
    """
    known = list(cases)
    for name in wanted:
        if not any(_is_named(case, name) for case in known):
            raise UsageError(f"no case, page or clause is called {name!r}; --list prints them")
    return [case for case in known if not wanted or any(_is_named(case, name) for name in wanted)]


def _of_page(page: Path, folder: Path, clauses: dict[str, Requirement]) -> Iterator[Case]:
    name = page.relative_to(folder).with_suffix("").as_posix()
    suite = _FOLDERS.get(name.partition("/")[0])
    for id_, line, text in named_in(page) if suite else ():
        transcript = parse(text, path=f"{name}.rst", line=line, name=id_)
        cited = tuple(clauses[rule] for rule in transcript.values("rule") if rule in clauses)
        yield Case(name, "client" if transcript.role == "client" else suite or "protocol", transcript, cited)


def _is_named(case: Case, name: str) -> bool:
    page = name.removesuffix(".rst").removeprefix("docs/")
    clauses = [requirement.id for requirement in case.requirements]
    begun = name.removesuffix("*")
    return (
        fnmatch.fnmatchcase(case.id, name)
        or fnmatch.fnmatchcase(case.page, page)
        or any(clause == name or clause.startswith((f"{begun}-", f"{begun}.")) for clause in clauses)
    )
