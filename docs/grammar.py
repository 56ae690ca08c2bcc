"""The grammar on a page: ABNF productions of the RFCs, compared with the parser in the code.

In a conftest.py, `CodeBlockParser("abnf", Grammar.define)` makes each `.. code-block:: abnf` of a document an example.
Its productions are added to the document's variable `grammar`, whose methods the page then uses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from abnf import ParseError, Rule
from abnf.grammars.rfc5322 import Rule as MessageRule
from sybil import Document, Example
from sybil.parsers.rest.lexers import DirectiveLexer

from lmtpref.protocol.peer_error import PeerError

LANGUAGE = "abnf"

# Characters with a meaning in some production, and others without any.
CHARACTERS = ' "\\<>@.,:;=[]+-_0Az\t\x00\x7fé'

_BLOCKS = DirectiveLexer("code-block")


class Grammar:
    """Productions of ABNF (RFC 5234) by their names, with the core rules of RFC 5234 appendix B."""

    def __init__(self) -> None:
        self._rules: type[Rule] = type("Rules", (Rule,), {})

    @staticmethod
    def define(example: Example) -> str:
        """Add the productions of a block; return a description of an error, empty without one."""
        grammar = example.namespace.setdefault("grammar", Grammar())
        try:
            grammar.add(example.parsed)
        except ParseError as problem:
            return f"{example.path}:{example.line}: not ABNF (RFC 5234): {problem}"
        undefined = ", ".join(grammar.undefined())
        return f"{example.path}:{example.line}: used here and not defined: {undefined}" if undefined else ""

    def add(self, text: str) -> None:
        """Add the productions in `text`.  Raises ParseError if it is not ABNF."""
        self._rules.load_grammar("\n".join(filter(str.strip, text.splitlines())))

    def use(self, page: Path) -> Grammar:
        """Add the productions on another page, and return the grammar."""
        for region in _BLOCKS(Document(page.read_text(encoding="utf-8"), str(page))):
            if region.lexemes["arguments"] == LANGUAGE:
                self.add(region.lexemes["source"])
        return self

    def use_messages(self, *names: str) -> None:
        """Add productions of RFC 5322, such as `date-time`."""
        for name in names:
            self._rules(name, MessageRule(name).definition)

    def undefined(self) -> list[str]:
        """Return the names that productions use but none defines."""
        return sorted(rule.name for rule in self._rules.rules() if not _is_defined(rule))  # type: ignore[no-untyped-call]  # abnf has no types there

    def takes(self, name: str, text: str) -> bool:
        """Return whether the production `name` generates `text`."""
        try:
            self._rules(name).parse_all(text)
        except ParseError:
            return False
        return True

    def differences(
        self, name: str, takes: Callable[[str], object], *examples: str, departures: Mapping[str, Callable[[str], bool]] | None = None
    ) -> list[str]:
        """Return the texts for which the production `name` and the code differ, a line each.

        The texts are `examples`, and all texts that differ from an example by one omitted, added or replaced character.
        `takes` rejects a text by raising a ValueError, such as UsageError, or a PeerError.  `departures` says, by name, for which
        texts a difference is intended; a departure that no text needs is reported.
        """
        unmet, found = {**(departures or {})}, []
        for text in sorted({text for example in examples for text in (example, *_neighbours(example))}):
            in_grammar = self.takes(name, text)
            if in_grammar == _accepts(takes, text):
                continue
            reasons = [reason for reason, meant in (departures or {}).items() if meant(text)]
            for reason in reasons:
                unmet.pop(reason, None)
            if not reasons:
                found.append(f"{text!r}: in the grammar, but rejected" if in_grammar else f"{text!r}: not in the grammar, but accepted")
        return [*found, *(f"no text needs the departure: {reason}" for reason in unmet)]


def _is_defined(rule: Rule) -> bool:
    return getattr(rule, "_definition", None) is not None


def _accepts(takes: Callable[[str], object], text: str) -> bool:
    try:
        takes(text)
    except (ValueError, PeerError):
        return False
    return True


def _neighbours(text: str) -> Iterator[str]:
    for place in range(len(text) + 1):
        yield text[:place] + text[place + 1 :]
        for character in CHARACTERS:
            yield text[:place] + character + text[place:]
            yield text[:place] + character + text[place + 1 :]
