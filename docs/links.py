"""Read the rendered documents for links that lead nowhere, and for names that are not in the index; docs/browser.py runs it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

from lmtpref.cli.main import COMMANDS
from lmtpref.config.keys import KEYS
from lmtpref.doctools.clauses import read_clauses
from lmtpref.lists import DEFAULT_POLICY
from lmtpref.protocol import VERBS
from lmtpref.protocol.catalogue import CATALOGUE

FIXTURES = ("lmtp_server", "lmtp_server_config", "lmtp_server_factory", "lmtp_client", "lmtp_script", "lmtp_case")
_ORIGIN = "http://docs.test/"
_ENTRY = re.compile(r'<a href="([^"]*)">(.*?)</a>')
_HEAD = re.compile(r'<span class="lmtp-turn lmtp-head">(.*?)\n</span>', re.DOTALL)
_ROW = re.compile(r'<tr class="row[^>]*>.*?</tr>', re.DOTALL)
_TAG = re.compile(r"<[^>]*>")


class Page(HTMLParser):
    """The anchors and the links of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text = path.read_text(encoding="utf-8")
        self.anchors: set[str] = set()
        self.twice: set[str] = set()
        self.links: set[str] = set()
        self.feed(self.text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Note the anchor or the link of one element."""
        of = dict(attributes)
        if "table-wrapper" not in (of.get("class") or ""):  # the theme gives it the id of its table
            anchor = of.get("id") or ""
            self.twice |= {anchor} & self.anchors - {""}
            self.anchors.add(anchor)
        if tag == "a":
            self.links.add(of.get("href") or "")


def problems(folder: Path) -> Iterator[str]:
    """Yield what is wrong with the links of the documents in `folder`."""
    pages = {path.relative_to(folder).as_posix(): Page(path) for path in sorted(folder.rglob("*.html"))}
    for name, page in pages.items():
        yield from (f"{name}: leads nowhere: {link}" for link in sorted(page.links) if _is_broken(name, link, pages, folder))
        yield from (f"{name}: two elements have the anchor {anchor}" for anchor in sorted(page.twice))
        yield from (f"{name}: `# rule:` line without a link: {line}" for line in _unlinked(page.text))
        if re.search(r'<span class="clause">(?!<a )', page.text):
            yield f"{name}: the id of a clause without a link"
    index = {unescape(_TAG.sub("", text)) for _, text in _ENTRY.findall(pages["genindex.html"].text)}
    yield from (f"not in the index: {name}" for name in sorted(set(_names()) - index))
    for row in _ROW.findall(pages["ledger.html"].text):
        if re.search(r'id="clause-\d', row) and "https://www.rfc-editor.org/" not in row:
            yield f"ledger: no link to the RFC: {_TAG.sub(' ', row)[:60]}"


def _is_broken(name: str, link: str, pages: dict[str, Page], folder: Path) -> bool:
    target = urlsplit(urljoin(_ORIGIN + name, link))
    if not target.geturl().startswith(_ORIGIN):
        return False
    path, anchor = unquote(target.path).lstrip("/"), unquote(target.fragment)
    return anchor not in pages[path].anchors | {""} if path in pages else not (folder / path).exists()


def _unlinked(text: str) -> Iterator[str]:
    """Yield the `# rule:` lines of ladders that cite what is no link."""
    for head in _HEAD.findall(text):
        for line in head.split("\n"):
            if "# rule:" in line and re.sub(r"<a .*?</a>|<[^>]*>|[,\s]", "", line) != "#rule:":
                yield _TAG.sub("", line)


def _names() -> Iterator[str]:
    """Yield what must be in the index."""
    yield from FIXTURES
    yield from (f"lmtpref {command}" for command in COMMANDS)
    yield from (*VERBS, "HELO", "EHLO")
    yield from (clause.id for clause in read_clauses(Path("docs"))[1])
    yield from (rule.name for rule in DEFAULT_POLICY)
    yield from (key.name for key in KEYS)
    for entry in CATALOGUE:
        code, enhanced = str(entry.reply.code), str(entry.reply.enhanced or "")
        yield from (code, enhanced, f"{code} {enhanced}") if enhanced else (code,)
