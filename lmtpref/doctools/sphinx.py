"""Transcripts in Sphinx: highlighted, drawn as a ladder, linked by name, with a warning for any that is not run.

A conf.py needs only `extensions = ["lmtpref.doctools.sphinx"]`.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.builders import Builder
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.fileutil import copy_asset_file
from sphinx.writers.html5 import HTML5Translator

from lmtpref import __version__
from lmtpref.doctools import ladder
from lmtpref.doctools.clauses import clause_anchor
from lmtpref.doctools.pygments import LmtpLexer
from lmtpref.doctools.sybil import blocks
from lmtpref.protocol.errors import TranscriptError
from lmtpref.transcripts.finder import LANGUAGE

_STYLES = [Path(__file__).with_name(name) for name in ("ladder.css", "citations.css")]
_FOR_CLIENTS = re.compile(r"^# role: client$", re.MULTILINE)
_RULES = re.compile(r"^# rule: (.*)$", re.MULTILINE)
_GIVEN = re.compile(r"^# given: (.*)$", re.MULTILINE)

log = logging.getLogger(__name__)


class Ladder(nodes.General, nodes.Element):
    """A transcript to draw: its `text` and `name`, the `links` of its head, and the `command` below it, as HTML."""


class DrawLadders(SphinxPostTransform):
    """A transform that replaces each transcript by a `Ladder`; formats other than HTML keep the literal block."""

    default_priority = 500
    formats = ("html",)
    builder: ClassVar[Builder]  # of the present build; what a transform says of it goes with Sphinx 11

    def run(self, **_kwargs: object) -> None:
        """Replace the transcripts of one document."""
        for block in list(_transcripts(self.document)):
            text, name = block.astext(), next(iter(block["names"]), "")
            side = "lmtp_client_commands" if _FOR_CLIENTS.search(text) else "lmtp_server_commands"
            command = _command(self.config[side], self.env.docname, name, _words(_GIVEN, text))
            block.replace_self(Ladder("", text=text, ids=block["ids"], name=name, links=self._links(text), command=command))

    def _links(self, text: str) -> dict[str, str]:
        """Return the addresses of the citations in the `# rule:` lines of `text`, if the documents have a place for them."""
        places = self.env.domains.standard_domain.anonlabels
        found = {word: places.get(clause_anchor(word)) or places.get(f"rule-{word}") for word in _words(_RULES, text)}
        return {word: f"{self._uri(place[0])}#{place[1]}" for word, place in found.items() if place}

    def _uri(self, page: str) -> str:
        return self.builder.get_relative_uri(self.env.docname, page)


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
    """Register the extension with Sphinx."""
    for side in ("server", "client"):  # folder of the page -> a command; NAME becomes the transcript's name, GIVEN its conditions
        app.add_config_value(f"lmtp_{side}_commands", {}, "html")
    app.add_lexer(LANGUAGE, LmtpLexer)
    app.add_node(Ladder, html=(visit_ladder, None))
    app.add_post_transform(DrawLadders)
    app.setup_extension("lmtpref.doctools.sphinx_citations")
    app.setup_extension("lmtpref.doctools.sphinx_ledger")
    app.setup_extension("lmtpref.doctools.sphinx_pictures")
    app.setup_extension("lmtpref.doctools.sphinx_tables")
    for style in _STYLES:
        app.add_css_file(style.name)
    app.connect("builder-inited", _note_builder)
    app.connect("builder-inited", _copy_styles)
    app.connect("doctree-read", _check_that_all_are_run)
    return {"version": __version__, "parallel_read_safe": True, "parallel_write_safe": True}


def _transcripts(document: nodes.document) -> list[nodes.literal_block]:
    return [block for block in document.findall(nodes.literal_block) if block.get("language") == LANGUAGE]


def _note_builder(app: Sphinx) -> None:
    DrawLadders.builder = app.builder


def _copy_styles(app: Sphinx) -> None:
    if app.builder.format == "html":
        target = Path(app.outdir, "_static")
        target.mkdir(parents=True, exist_ok=True)
        for style in _STYLES:
            copy_asset_file(style, target, force=True)


def _check_that_all_are_run(app: Sphinx, document: nodes.document) -> None:
    """Warn if Sphinx and Sybil find different transcripts, because one that is shown but not run proves nothing."""
    shown = len(_transcripts(document))
    run = len(blocks(app.env.doc2path(app.env.docname)))
    if shown != run:
        log.warning("%d transcripts are shown, but %d are run", shown, run, location=app.env.docname, type="lmtp")


def _permalink(name: str) -> str:
    escaped = html.escape(name)
    return f'<p class="lmtp-name"><a href="#{escaped}" title="Link to this transcript">{escaped}</a></p>' if name else ""


def _words(heads: re.Pattern[str], text: str) -> list[str]:
    """Return the values of the head lines that match."""
    return [word.strip() for line in heads.findall(text) for word in line.split(",")]


def _command(commands: Mapping[str, str], page: str, name: str, given: Sequence[str]) -> str:
    """Return the paragraph with the command that plays a transcript elsewhere, if the folder of its page has one."""
    template = commands.get(page.rpartition("/")[0])
    if not (name and template):
        return ""
    filled = template.replace("NAME", name).replace(" GIVEN", "".join(f" --given {condition}" for condition in given))
    return f'<p class="lmtp-check">Try yours: <code>{html.escape(filled)}</code></p>'
