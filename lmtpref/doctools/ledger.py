"""The ledger: every clause that binds a server or a client, with the examples that show it or the reason for having none.

The clauses are in `clauses.toml` in the documents' folder.  The `# rule:` lines of a transcript name the clauses that it shows.
For other examples, the clause names their section.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from lmtpref.doctools.citations import agrees, brackets, citations, strength_of
from lmtpref.doctools.clauses import CLAUSES, HOW, PARTIES, Clause, read_clauses
from lmtpref.doctools.sybil import blocks, sections
from lmtpref.lists.policy.default import DEFAULT_POLICY

# The folders in which every transcript shows a clause.
MUST_CITE = ("rfc2033/", "extensions/")
# The folders in which every citation must give the strength of the clause.
GIVES_STRENGTH = (*MUST_CITE, "acceptance/")


class Example(NamedTuple):
    """A transcript, and the citations in its `# rule:` lines: clauses, and rules of a policy."""

    page: str
    name: str
    cites: tuple[str, ...]
    role: str

    def __str__(self) -> str:
        return f"{self.page}::{self.name}"


class LedgerLink(NamedTuple):
    """A place that shows a clause: a page without its suffix, an anchor on it, and the text of the link."""

    page: str
    anchor: str
    name: str


class Count(NamedTuple):
    """The number of clauses, in total and by status."""

    clauses: int
    done: int
    carried: int
    argued: int


class Ledger:
    """The clauses of a folder of documents, and the examples there.

    `# rule:` lines may also name rules of the default policy, and of `rules`.
    """

    def __init__(self, docs: Path, rules: Iterable[str] = ()) -> None:
        self.docs = docs
        self.rfcs, self.clauses = read_clauses(docs)
        self._pages = sorted(docs.rglob("*.rst"))
        self.examples = [example for page in self._pages for example in _examples(page, docs)]
        self._rules = {rule.name for rule in DEFAULT_POLICY} | set(rules)
        self._by_id = {clause.id: clause for clause in self.clauses}
        self._roles: dict[str, set[str]] = {}
        for example in self.examples:
            for id_ in example.cites:
                self._roles.setdefault(id_, set()).add(example.role)

    def is_shown(self, clause: Clause) -> bool:
        """Return whether any example shows `clause`."""
        return bool(clause.shown) or clause.id in self._roles

    def places(self, clause: Clause) -> list[LedgerLink]:
        """Return the places that show `clause`; pages named after RFCs come first."""
        citing = [LedgerLink(_stem(example.page), example.name, example.name) for example in self.examples if clause.id in example.cites]
        named = (place.partition("::") for place in clause.shown)
        places = [LedgerLink(_stem(page), section, section) for page, _, section in named] + citing
        return sorted(places, key=lambda place: not place.page.startswith(MUST_CITE))

    def count(self, *, rfc: str | None = None, party: str | None = None) -> Count:
        """Count the clauses of one RFC, of one party, or of both."""
        counted = [clause for clause in self.clauses if rfc in (None, clause.rfc) and party in (None, clause.party)]
        by_status = Counter(clause.status for clause in counted)
        return Count(len(counted), by_status["done"], by_status["carried through"], by_status["argued"])

    def problems(self) -> list[str]:
        """Return the problems of the ledger, a line each; empty if every clause is accounted for."""
        return [*self._of_clauses(), *self._of_how(), *self._of_sections(), *self._of_examples(), *self._of_citations()]

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

    def _of_how(self) -> Iterator[str]:
        for clause in self.clauses:
            if clause.argued and clause.how:
                yield f"{clause.id}: argued, so `how` has nothing to say"
            if not clause.argued and not clause.how:
                yield f"{clause.id}: `how` does not say what kind of example shows it"
            yield from (f"{clause.id}: {problem}" for how in clause.how if (problem := self._of_kind(clause, how)))

    def _of_kind(self, clause: Clause, how: str) -> str:
        roles = self._roles.get(clause.id, set())
        if how not in HOW:
            return f"`how` is one of {', '.join(HOW)}, not {how}"
        if how == "client" and clause.party == "server":
            return "binds a server, so no client shows it"
        shown = {
            "replies": "server" in roles,
            "policy": "server" in roles,
            "examples": bool(clause.shown),
            "client": bool(clause.shown) or "client" in roles,
            "handler": self.is_shown(clause),
        }
        return "" if shown[how] else f"no {how} show it; that takes {HOW[how]}"

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
        for example in self.examples:
            unknown = [id_ for id_ in example.cites if id_ not in self._by_id.keys() | self._rules]
            yield from (f"{example}: cites {id_!r}, which is no clause and no rule" for id_ in unknown)
            if example.page.startswith(MUST_CITE) and not self._by_id.keys() & {*example.cites}:
                yield f"{example}: cites no clause"

    def _of_citations(self) -> Iterator[str]:
        for path in self._pages:
            page, text = path.relative_to(self.docs).as_posix(), path.read_text(encoding="utf-8")
            for start, cited in brackets(text):
                line = text.count("\n", 0, start) + 1
                yield from (f"{page}:{line}: {problem}" for problem in self._of_citation(cited, strict=page.startswith(GIVES_STRENGTH)))

    def _of_citation(self, cited: str, *, strict: bool) -> Iterator[str]:
        citation = next(citations(cited), None)
        if strict and citation is None:
            yield f"{cited} is not a citation; that is (2033-4.2-a, MUST), with a semicolon before what has another strength"
        for id_, said in ((id_, group.strength) for group in (citation.groups if citation else ()) for id_ in group.ids):
            if strict and id_ not in self._by_id:
                yield f"cites {id_}, which is no clause"
            elif strict and not said:
                yield f"{id_} is cited without its strength, {strength_of(self._by_id[id_].level)}"
            elif said and id_ in self._by_id and not agrees(said, self._by_id[id_].level):
                yield f"{id_} is {strength_of(self._by_id[id_].level)}, and cited as {said}"


def _examples(page: Path, docs: Path) -> Iterable[Example]:
    """Return the transcripts of a page; the name of an unnamed one is the number of its first line."""
    for block in blocks(page):
        transcript = block.parse()
        name = block.name or f"line-{block.line}"
        yield Example(page.relative_to(docs).as_posix(), name, transcript.values("rule"), transcript.role)


def _stem(page: str) -> str:
    return page.removesuffix(".rst")


def _cites(text: str, clause: str) -> bool:
    """Return whether `text` contains the id `clause`, and not only as a part of a longer id."""
    return bool(re.search(rf"(?<![\w.-]){re.escape(clause)}(?![\w-]|\.\d)", text))
