"""Tables in Sphinx, drawn from the code: reply codes, rules and configuration keys, each with an anchor and an index entry.

The search shows an index entry before any other page with the word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from lmtpref.config.keys import KEYS
from lmtpref.doctools.defaults import default_values
from lmtpref.doctools.policy_picture import replies_of, verdicts_of
from lmtpref.lists import DEFAULT_POLICY
from lmtpref.lists.policy.rules import Rule
from lmtpref.protocol.catalogue import CATALOGUE
from lmtpref.protocol.replies import Reply

Row = tuple[dict[str, str], tuple[str, ...]]  # the index entries by anchor, and the cells


class _Table(SphinxDirective):
    """A table whose rows are link targets."""

    columns: tuple[str, ...]
    widths: str

    def rows(self) -> Iterable[Row]:
        """Return the rows."""
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        """Draw the table; every build draws it again, since the code may have changed."""
        self.env.note_reread()
        drawn = self.parse_text_to_nodes("\n".join(self._lines()))
        for row in [row for node in drawn for row in node.findall(nodes.row)]:
            _give_ids(row)
        return drawn

    def _lines(self) -> Iterator[str]:
        yield from (".. list-table::", "   :header-rows: 1", f"   :widths: {self.widths}", "")
        yield from _cells("", self.columns)
        for entries, cells in self.rows():
            yield from _cells("".join(f"{indexed(entry, anchor, 7)}\n       " for anchor, entry in entries.items()), cells)


class ReplyCodes(_Table):
    """`.. reply-codes::` shows every standard reply of the server."""

    columns = ("Reply", "Text", "When", "Source", "Rules")
    widths = "12 30 18 24 16"

    def rows(self) -> Iterator[Row]:
        """Yield a row for each reply, by code; the index leads to the first row with a code."""
        anchors: set[str] = set()
        for entry in sorted(CATALOGUE, key=lambda entry: (entry.reply.code, str(entry.reply.enhanced or ""))):
            codes = [str(entry.reply.code)]
            if entry.reply.enhanced:
                codes += [str(entry.reply.enhanced), f"{entry.reply.code} {entry.reply.enhanced}"]
            new = {anchor_of("code", code): code for code in codes if anchor_of("code", code) not in anchors}
            anchors |= set(new)
            text = f"``{' '.join(entry.reply.lines)}``"
            yield new, (f"**{codes[-1]}**", text, entry.when, entry.source, ", ".join(_rules_with(entry.reply)))


class PolicyRules(_Table):
    """`.. policy-rules::` shows the rules of the default policy."""

    columns = ("Rule", "Stage", "Policy", "Verdicts")
    widths = "24 14 40 22"

    def rows(self) -> Iterator[Row]:
        """Yield a row for each rule, in their order."""
        for rule in DEFAULT_POLICY:
            yield {f"rule-{rule.name}": rule.name}, (f"``{rule.name}``", rule.stage.value, rule.policy, ", ".join(verdicts_of(rule)))


class ConfigurationKeys(_Table):
    """`.. configuration-keys::` shows every key of the configuration file."""

    columns = ("Key", "Value", "Default", "Meaning")
    widths = "26 20 16 38"

    def rows(self) -> Iterator[Row]:
        """Yield a row for each key, in the order of the tables."""
        defaults = default_values()
        for key in KEYS:
            default = defaults.get((key.table, key.name))
            cells = (f"``[{key.table}] {key.name}``", key.kind.words, f"``{default}``" if default else "", key.meaning)
            yield {anchor_of("key", f"{key.table}-{key.name}"): key.name}, cells


def indexed(entry: str, anchor: str, indentation: int) -> str:
    """Return the directive for an index entry, and the target that it leads to."""
    blank = " " * indentation
    return f".. index:: ! {entry}\n{blank}   :name: {anchor}\n"


def anchor_of(kind: str, what: str) -> str:
    """Return the anchor of a row: `code-550-5-1-1`, `key-server-listen`."""
    return f"{kind}-{re.sub(r'[^a-z0-9_]+', '-', what.lower())}"


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the tables with Sphinx."""
    app.add_directive("reply-codes", ReplyCodes)
    app.add_directive("policy-rules", PolicyRules)
    app.add_directive("configuration-keys", ConfigurationKeys)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _give_ids(row: nodes.row) -> None:
    """Make cells the targets of a row, one each, because Sphinx's search cannot summarise a target without text."""
    for cell, target in zip(row.children, list(row.findall(nodes.target)), strict=False):
        assert isinstance(cell, nodes.entry)
        assert target.parent
        cell["ids"] += target["ids"]
        target.parent.remove(target)


def _rules_with(reply: Reply) -> list[str]:
    rules: list[Rule[Any]] = [rule for rule in DEFAULT_POLICY if reply in replies_of(rule)]
    return [f":ref:`{rule.name} <rule-{rule.name}>`" for rule in rules]


def _cells(targets: str, cells: Iterable[str]) -> Iterator[str]:
    first, *others = cells
    yield f"   * - {targets}{first}"
    yield from (f"     - {cell}" for cell in others)
