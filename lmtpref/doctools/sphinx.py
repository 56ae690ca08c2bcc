"""Transcripts in Sphinx: highlighted, drawn as a ladder, linked by their names, and none that is not run.

`extensions = ["lmtpref.doctools.sphinx"]` is all that a conf.py needs.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.builders import Builder
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx.util.fileutil import copy_asset_file
from sphinx.writers.html5 import HTML5Translator

from lmtpref import __version__
from lmtpref.doctools import ladder
from lmtpref.doctools.clauses import CLAUSES, Clause, clause_anchor
from lmtpref.doctools.ledger import Ledger
from lmtpref.doctools.policy_picture import draw
from lmtpref.doctools.pygments import LmtpLexer
from lmtpref.doctools.sphinx_tables import indexed
from lmtpref.doctools.sybil import LANGUAGE, blocks
from lmtpref.lists import DEFAULT_POLICY
from lmtpref.protocol.errors import TranscriptError

_STYLES = [Path(__file__).with_name(name) for name in ("ladder.css", "citations.css")]
_FOR_CLIENTS = re.compile(r"^# role: client$", re.MULTILINE)
_RULES = re.compile(r"^# rule: (.*)$", re.MULTILINE)

log = logging.getLogger(__name__)


class Ladder(nodes.General, nodes.Element):
    """A transcript that is drawn: its `text` and `name` as written, the `links` of its head, and the `command` below it, as HTML."""


class ClausesDirective(SphinxDirective):
    """`.. clauses::` has a section for each RFC of the ledger, with a row for each of its clauses."""

    builder: ClassVar[Builder]  # of the present build; what the environment says of it goes with Sphinx 11

    def run(self) -> list[nodes.Node]:
        """Draw the tables; they are drawn anew with every build, since any page may cite a clause."""
        ledger = Ledger(Path(self.env.srcdir))
        self.env.note_dependency(str(ledger.docs / CLAUSES))
        self.env.note_reread()
        return self.parse_text_to_nodes("\n".join(_tables(ledger, self._uri)), allow_section_headings=True)

    def _uri(self, page: str) -> str:
        return self.builder.get_relative_uri(self.env.docname, page)


class DrawLadders(SphinxPostTransform):
    """Puts a `Ladder` in the place of each transcript; other formats than HTML keep the literal block."""

    default_priority = 500
    formats = ("html",)

    def run(self, **_kwargs: object) -> None:
        """Replace the transcripts of one document."""
        for block in list(_transcripts(self.document)):
            text, name = block.astext(), next(iter(block["names"]), "")
            side = "lmtp_client_commands" if _FOR_CLIENTS.search(text) else "lmtp_server_commands"
            command = _command(self.config[side], self.env.docname, name)
            block.replace_self(Ladder("", text=text, ids=block["ids"], name=name, links=self._links(text), command=command))

    def _links(self, text: str) -> dict[str, str]:
        """Return the addresses of what the `# rule:` lines of `text` cite, as far as the documents have a place for it."""
        places = self.env.domains.standard_domain.anonlabels
        cited = [word.strip() for line in _RULES.findall(text) for word in line.split(",")]
        found = {word: places.get(clause_anchor(word)) or places.get(f"rule-{word}") for word in cited}
        return {word: f"{self._uri(place[0])}#{place[1]}" for word, place in found.items() if place}

    def _uri(self, page: str) -> str:
        return ClausesDirective.builder.get_relative_uri(self.env.docname, page)


class PolicyDirective(SphinxDirective):
    """`.. policy-picture::`, the default policy as it is when the documents are built."""

    def run(self) -> list[nodes.Node]:
        """The picture, for HTML."""
        return [nodes.raw("", draw(DEFAULT_POLICY), format="html")]


def visit_ladder(translator: HTML5Translator, node: Ladder) -> None:
    """Draw one transcript."""
    ids = {*node["ids"], *filter(None, [node["name"]])} - {""}
    anchors = "".join(f'<span id="{html.escape(id_)}"></span>' for id_ in sorted(ids))
    drawn = translator.highlighter.highlight_block(node["text"], LANGUAGE, location=node)
    translator.body.append(f'<div class="lmtp-transcript">{anchors}{_permalink(node["name"])}')
    try:
        drawn = ladder.draw(drawn, node["text"], node["links"])
    except TranscriptError as problem:
        log.warning("%s", problem, location=node, type="lmtp")
    translator.body.append(f'<div class="highlight-{LANGUAGE} notranslate">{drawn}</div>{node["command"]}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Register all of this with Sphinx."""
    for side in ("server", "client"):  # by the folder of the page: a command, in which NAME stands for the transcript's name
        app.add_config_value(f"lmtp_{side}_commands", {}, "html")
    app.add_lexer(LANGUAGE, LmtpLexer)
    app.add_node(Ladder, html=(visit_ladder, None))
    app.add_directive("clauses", ClausesDirective)
    app.add_directive("policy-picture", PolicyDirective)
    app.add_post_transform(DrawLadders)
    app.setup_extension("lmtpref.doctools.sphinx_citations")
    app.setup_extension("lmtpref.doctools.sphinx_tables")
    for style in _STYLES:
        app.add_css_file(style.name)
    app.connect("builder-inited", _note_builder)
    app.connect("builder-inited", _copy_styles)
    app.connect("doctree-read", _check_that_all_are_run)
    return {"version": __version__, "parallel_read_safe": True, "parallel_write_safe": True}


def _tables(ledger: Ledger, uri: Callable[[str], str]) -> Iterator[str]:
    """A section and a table for each RFC, as reStructuredText."""
    for rfc, subject in ledger.rfcs.items():
        title = f"RFC {rfc}, {subject}" if rfc.isdigit() else subject
        yield from ("", title, "-" * len(title), "", ".. list-table::", "   :header-rows: 1", "   :widths: 16 44 40", "")
        yield from ("   * - clause", "     - what it asks", "     - shown by")
        for clause in (clause for clause in ledger.clauses if clause.rfc == rfc):
            yield f"   * - {indexed(clause.id, clause.anchor, 7)}"
            yield f"       | **{clause.id}**"
            yield f"       | {clause.section}"
            yield f"       | {clause.party}, {clause.level}"
            yield f"       | {clause.status}"
            yield f"     - {_escaped(clause.text)}"
            yield f"     - {_shown(ledger, clause, uri)}"


def _shown(ledger: Ledger, clause: Clause, uri: Callable[[str], str]) -> str:
    if clause.argued:
        return f"*{_escaped(clause.argued)}*"
    return ", ".join(f"`{place.name} <{uri(place.page)}#{place.anchor}>`__" for place in ledger.places(clause))


def _escaped(text: str) -> str:
    return re.sub(r"([*`|\\])", r"\\\1", text)


def _transcripts(document: nodes.document) -> list[nodes.literal_block]:
    return [block for block in document.findall(nodes.literal_block) if block.get("language") == LANGUAGE]


def _note_builder(app: Sphinx) -> None:
    ClausesDirective.builder = app.builder


def _copy_styles(app: Sphinx) -> None:
    if app.builder.format == "html":
        target = Path(app.outdir, "_static")
        target.mkdir(parents=True, exist_ok=True)
        for style in _STYLES:
            copy_asset_file(style, target, force=True)


def _check_that_all_are_run(app: Sphinx, document: nodes.document) -> None:
    """Warn where Sphinx and Sybil do not see the same transcripts: one that is shown but not run proves nothing."""
    shown = len(_transcripts(document))
    run = len(blocks(app.env.doc2path(app.env.docname)))
    if shown != run:
        log.warning("%d transcripts are shown, but %d are run", shown, run, location=app.env.docname, type="lmtp")


def _permalink(name: str) -> str:
    escaped = html.escape(name)
    return f'<p class="lmtp-name"><a href="#{escaped}" title="Link to this transcript">{escaped}</a></p>' if name else ""


def _command(commands: Mapping[str, str], page: str, name: str) -> str:
    """Return the paragraph with the command that plays a transcript elsewhere, if the folder of its page has one."""
    template = commands.get(page.rpartition("/")[0])
    if not (name and template):
        return ""
    return f'<p class="lmtp-check">Try yours: <code>{html.escape(template.replace("NAME", name))}</code></p>'
