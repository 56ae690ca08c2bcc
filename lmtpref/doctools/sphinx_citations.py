"""Citations in Sphinx: each id links to its row of the ledger, and the strength is marked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.builders import Builder
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.nodes import make_refnode

from lmtpref.doctools.citations import Citation, CitationGroup, citations
from lmtpref.doctools.clauses import clause_anchor

# Text inside these elements is shown unchanged.
_VERBATIM = (nodes.literal, nodes.literal_block, nodes.doctest_block, nodes.comment, nodes.raw, nodes.reference, nodes.title)

# The first kind with a word in the strength counts.
_KINDS = {
    "ours": ("our choice",),
    "must": ("must", "shall", "not allowed", "forbidden", "may not"),
    "should": ("should", "recommended", "encouraged", "discouraged", "appropriate"),
    "may": ("may", "can"),
}


class MarkCitations(SphinxTransform):
    """A transform that replaces each citation by elements, so that a style sheet and a link can reach its parts."""

    default_priority = 760

    def apply(self, **_kwargs: object) -> None:
        """Mark the citations of one document."""
        for text in [text for text in self.document.findall(nodes.Text) if not _is_verbatim(text)]:
            if found := list(citations(str(text))):
                text.parent.replace(text, list(_marked(str(text), found)))


class LinkClauses(SphinxPostTransform):
    """A transform that links each id of a clause, if the documents have a ledger."""

    default_priority = 400
    builder: ClassVar[Builder]  # of the present build; what a transform says of it goes with Sphinx 11

    def run(self, **_kwargs: object) -> None:
        """Link the ids of one document."""
        rows = self.env.domains.standard_domain.anonlabels
        for place in list(self.document.findall(_is_clause)):
            if row := rows.get(clause_anchor(place.astext())):
                link = make_refnode(self.builder, self.env.docname, *row, nodes.Text(place.astext()), "The ledger's row")
                place.parent.replace(place, nodes.inline("", "", link, classes=["clause"]))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register both with Sphinx."""
    app.add_transform(MarkCitations)
    app.add_post_transform(LinkClauses)
    app.connect("builder-inited", _note_builder)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _note_builder(app: Sphinx) -> None:
    LinkClauses.builder = app.builder


def _is_clause(node: nodes.Node) -> bool:
    return isinstance(node, nodes.inline) and "clause" in node["classes"]


def _is_verbatim(text: nodes.Text) -> bool:
    node = text.parent
    while node is not None:
        if isinstance(node, _VERBATIM):
            return True
        node = node.parent
    return False


def _marked(text: str, found: list[Citation]) -> Iterator[nodes.Node]:
    position = 0
    for citation in found:
        yield nodes.Text(text[position : citation.start])
        yield _citation(citation)
        position = citation.end
    yield nodes.Text(text[position:])


def _citation(citation: Citation) -> nodes.inline:
    marked = nodes.inline("", "", classes=["citation-of-clauses"])
    for number, group in enumerate(citation.groups):
        marked += nodes.Text("; " if number else "(")
        marked += list(_group(group))
    marked += nodes.Text(")")
    return marked


def _group(group: CitationGroup) -> Iterator[nodes.Node]:
    for id_ in group.ids:
        yield nodes.inline(id_, id_, classes=["clause"])
        yield nodes.Text(", ")
    yield nodes.inline("", group.strength, classes=["strength", _kind(group.strength)])


def _kind(strength: str) -> str:
    """Return the class of the strength for style sheets."""
    kinds = (kind for kind, words in _KINDS.items() if any(word in strength.lower() for word in words))
    return f"strength-{next(kinds, 'other')}"
