"""The ledger in Sphinx: a table of counts, and for each RFC a table of its clauses with links to the examples that show them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.builders import Builder
from sphinx.util.docutils import SphinxDirective

from lmtpref.check import requirements
from lmtpref.doctools.clauses import CLAUSES, Clause
from lmtpref.doctools.ledger import Ledger
from lmtpref.doctools.sphinx_tables import indexed


class _OfLedger(SphinxDirective):
    """A directive that draws the ledger again in every build, since any page may cite a clause."""

    builder: ClassVar[Builder]  # of the present build; what the environment says of it goes with Sphinx 11

    def run(self) -> list[nodes.Node]:
        """Draw the ledger of these documents."""
        ledger = Ledger(Path(self.env.srcdir))
        self.env.note_dependency(str(ledger.docs / CLAUSES))
        self.env.note_reread()
        return self.parse_text_to_nodes("\n".join(self._lines(ledger)), allow_section_headings=True)

    def _lines(self, ledger: Ledger) -> Iterator[str]:
        """Yield the lines of reStructuredText."""
        raise NotImplementedError


class CountsDirective(_OfLedger):
    """`.. clause-counts::` has a row for each RFC of the ledger, with the number of its clauses by status."""

    def _lines(self, ledger: Ledger) -> Iterator[str]:
        yield from (".. list-table::", "   :header-rows: 1", "   :widths: 18 34 12 10 22 12", "")
        yield from _row("Source", "Subject", "Clauses", "Done", "Carried through", "Argued")
        for rfc, subject in ledger.rfcs.items():
            yield from _row(f":ref:`{_source(rfc)} <{_label(rfc)}>`", subject, *ledger.count(rfc=rfc))
        yield from _row("all", "", *ledger.count())


class ClausesDirective(_OfLedger):
    """`.. clauses::` has a section for each RFC of the ledger, with a row for each of its clauses."""

    def _lines(self, ledger: Ledger) -> Iterator[str]:
        links = {id_: requirement.link for id_, requirement in requirements.load(ledger.docs).items()}
        for rfc, subject in ledger.rfcs.items():
            title = f"{_source(rfc)}, {subject}" if rfc.isdigit() else subject
            yield from ("", f".. _{_label(rfc)}:", "", title, "-" * len(title), "")
            yield from (".. list-table::", "   :header-rows: 1", "   :widths: 16 44 40", "")
            yield from _row("Clause", "Requirement", "Shown by")
            for clause in (clause for clause in ledger.clauses if clause.rfc == rfc):
                yield f"   * - {indexed(clause.id, clause.anchor, 7)}"
                yield f"       | **{clause.id}**"
                yield f"       | {_section(clause, links[clause.id])}"
                yield f"       | {clause.party}, {clause.level}"
                yield f"       | {clause.status}"
                yield f"     - {_escaped(clause.text)}"
                yield f"     - {self._shown(ledger, clause)}"

    def _shown(self, ledger: Ledger, clause: Clause) -> str:
        if clause.argued:
            return f"*{_escaped(clause.argued)}*"
        return ", ".join(f"`{place.name} <{self._uri(place.page)}#{place.anchor}>`__" for place in ledger.places(clause))

    def _uri(self, page: str) -> str:
        return self.builder.get_relative_uri(self.env.docname, page)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register both with Sphinx."""
    app.add_directive("clause-counts", CountsDirective)
    app.add_directive("clauses", ClausesDirective)
    app.connect("builder-inited", _note_builder)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _note_builder(app: Sphinx) -> None:
    _OfLedger.builder = app.builder


def _row(*cells: object) -> Iterator[str]:
    yield from (f"   {'*' if number == 0 else ' '} - {cell}" for number, cell in enumerate(cells))


def _source(rfc: str) -> str:
    return f"RFC {rfc}" if rfc.isdigit() else rfc


def _label(rfc: str) -> str:
    return f"clauses-{rfc.lower()}"


def _section(clause: Clause, link: str) -> str:
    """Return the section of the clause, as a link to the text of the RFC if it is in one."""
    return f"`{_escaped(clause.section)} <{link}>`__" if link else _escaped(clause.section)


def _escaped(text: str) -> str:
    return re.sub(r"([*`|\\])", r"\\\1", text)
