"""Pictures in Sphinx, drawn from the code in every build: the default policy, and the flow of one message."""

from __future__ import annotations

from typing import Any, ClassVar

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.builders import Builder
from sphinx.util.docutils import SphinxDirective

from lmtpref.doctools import flow_picture, policy_picture
from lmtpref.doctools.sphinx_tables import anchor_of
from lmtpref.lists import DEFAULT_POLICY


class PolicyDirective(SphinxDirective):
    """`.. policy-picture::`, the default policy."""

    def run(self) -> list[nodes.Node]:
        """Return the picture, for HTML."""
        return [nodes.raw("", policy_picture.draw(DEFAULT_POLICY), format="html")]


class FlowDirective(SphinxDirective):
    """`.. flow-picture:: PAGE`, the stages of a message, with links to the table of reply codes on that page."""

    required_arguments = 1
    builder: ClassVar[Builder]  # of the present build; what the environment says of it goes with Sphinx 11

    def run(self) -> list[nodes.Node]:
        """Return the picture, for HTML."""
        page = self.builder.get_relative_uri(self.env.docname, self.arguments[0])
        return [nodes.raw("", flow_picture.draw(lambda codes: f"{page}#{anchor_of('code', codes)}"), format="html")]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register both with Sphinx."""
    app.add_directive("policy-picture", PolicyDirective)
    app.add_directive("flow-picture", FlowDirective)
    app.connect("builder-inited", _note_builder)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _note_builder(app: Sphinx) -> None:
    FlowDirective.builder = app.builder
