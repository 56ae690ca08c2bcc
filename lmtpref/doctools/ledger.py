"""The ledger: every clause that binds a server or a client, with the examples that show it or the reason why none does.

The clauses stand in `clauses.toml` beside the documents.  A transcript says which of them it shows in its `# rule:` lines; what is
shown by other examples names the section that they stand in.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from lmtpref.doctools.sybil import blocks, sections
from lmtpref.lists.policy.default import DEFAULT_POLICY

CLAUSES = "clauses.toml"
MUST_CITE = ("rfc2033/", "extensions/")  # the folders in which a transcript without a clause has no business
PARTIES = ("server", "client", "both")


class Example(NamedTuple):
    """A transcript, and what its `# rule:` lines cite: clauses, and rules of a policy."""

    page: str
    name: str
    cites: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}::{self.name}"


class Place(NamedTuple):
    """Where a clause is shown: a page without its suffix, an anchor on it, and how the link reads."""

    page: str
    anchor: str
    name: str


@dataclass(frozen=True, slots=True)
class Clause:
    """One requirement, in a sentence of ours, with what `clauses.toml` says of it."""

    id: str
    rfc: str
    section: str
    party: str
    level: str
    text: str
    shown: tuple[str, ...] = ()  # sections of pages, PAGE.rst::SECTION, in which examples other than transcripts show it
    argued: str = ""  # why no example can


class Count(NamedTuple):
    """How many clauses there are, how many of them are shown, and how many argued."""

    clauses: int
    shown: int
    argued: int


class Ledger:
    """The clauses of a folder of documents, and the examples there.

    Beside clauses, `# rule:` lines may name rules of the default policy, and `rules`.
    """

    def __init__(self, docs: Path, rules: Iterable[str] = ()) -> None:
        text = tomllib.loads((docs / CLAUSES).read_text(encoding="utf-8"))
        self.docs = docs
        self.rfcs: dict[str, str] = text["rfc"]
        self.clauses = [Clause(**{**clause, "shown": tuple(clause.get("shown", ()))}) for clause in text["clause"]]
        self.examples = [example for page in sorted(docs.rglob("*.rst")) for example in _examples(page, docs)]
        self._rules = {rule.name for rule in DEFAULT_POLICY} | set(rules)
        self._cited = {id_ for example in self.examples for id_ in example.cites}

    def is_shown(self, clause: Clause) -> bool:
        """Whether any example shows `clause`."""
        return bool(clause.shown) or clause.id in self._cited

    def places(self, clause: Clause) -> list[Place]:
        """Where `clause` is shown, the pages that follow the RFCs first."""
        citing = [Place(_stem(example.page), example.name, example.name) for example in self.examples if clause.id in example.cites]
        named = (place.partition("::") for place in clause.shown)
        places = [Place(_stem(page), section, section) for page, _, section in named] + citing
        return sorted(places, key=lambda place: not place.page.startswith(MUST_CITE))

    def count(self, *, rfc: str | None = None, party: str | None = None) -> Count:
        """The clauses of one RFC, or of one party, or of both, counted."""
        counted = [clause for clause in self.clauses if rfc in (None, clause.rfc) and party in (None, clause.party)]
        shown = sum(map(self.is_shown, counted))
        return Count(len(counted), shown, sum(bool(clause.argued) for clause in counted))

    def problems(self) -> list[str]:
        """What is wrong with the ledger, a line each; nothing if every clause is accounted for."""
        return [*self._of_clauses(), *self._of_sections(), *self._of_examples()]

    def _of_clauses(self) -> Iterator[str]:
        seen: set[str] = set()
        for clause in self.clauses:
            if clause.id in seen:
                yield f"{clause.id}: stands in {CLAUSES} twice"
            if clause.party not in PARTIES or clause.rfc not in self.rfcs:
                yield f"{clause.id}: no such party or RFC: {clause.party}, {clause.rfc}"
            if clause.argued and self.is_shown(clause):
                yield f"{clause.id}: argued to be out of reach, and shown all the same, by {self.places(clause)[0].name}"
            if not clause.argued and not self.is_shown(clause):
                yield f"{clause.id}: neither shown by an example nor argued"
            seen.add(clause.id)

    def _of_sections(self) -> Iterator[str]:
        for clause in self.clauses:
            for place in clause.shown:
                if problem := self._of_section(clause, *place.partition("::")[::2]):
                    yield f"{clause.id}: {place}: {problem}"

    def _of_section(self, clause: Clause, page: str, section: str) -> str:
        path = self.docs / page
        text = sections(path).get(section) if path.is_file() else None
        if text is None:
            return "no such section"
        if not re.search(r"^ *>>> ", text, re.MULTILINE):
            return "no example stands there"
        return "" if _cites(text, clause.id) else "the section does not cite the clause"

    def _of_examples(self) -> Iterator[str]:
        ids = {clause.id for clause in self.clauses}
        for example in self.examples:
            unknown = [id_ for id_ in example.cites if id_ not in ids | self._rules]
            yield from (f"{example}: cites {id_!r}, which is no clause and no rule" for id_ in unknown)
            if example.page.startswith(MUST_CITE) and not ids & {*example.cites}:
                yield f"{example}: cites no clause"


def _examples(page: Path, docs: Path) -> Iterable[Example]:
    """The transcripts of a page; one without a name goes by the number of its first line."""
    for block in blocks(page):
        yield Example(page.relative_to(docs).as_posix(), block.name or f"line-{block.line}", block.parse().values("rule"))


def _stem(page: str) -> str:
    return page.removesuffix(".rst")


def _cites(text: str, clause: str) -> bool:
    """Whether `text` has the id `clause`, and not only one that begins or ends with it."""
    return bool(re.search(rf"(?<![\w.-]){re.escape(clause)}(?![\w-]|\.\d)", text))
