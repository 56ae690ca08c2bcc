"""Parsers for structured field bodies (RFC 5322 section 2.2.2) that return the mailboxes and lists they name.

Each function accepts any string, reads it once from left to right, and never raises an exception.
Obsolete syntax is accepted too, as RFC 5322 section 4 requires.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple
from urllib.parse import unquote

from lmtpref.protocol.errors import UsageError
from lmtpref.protocol.syntax import Path


class Token(NamedTuple):
    """A lexical token of RFC 5322 section 3.2, without the comments and white space around it.

    `kind` is atom, quoted, literal, mark (one special character) or open (an unterminated quoted string).
    `text` is the token as written, without the quotes and backslashes of a quoted string.
    """

    kind: str
    text: str


# White space is that of RFC 5322 section 2.2: a no-break space, which Python's \s includes, is part of an atom (RFC 6532 section 3.2).
# If the alternative for a quoted string fails, the next one takes the scanned text, so the time is proportional to the length.
_TOKEN = re.compile(
    r"""(?P<blank>[\ \t\r\n]+)
    | "(?P<quoted>(?:[^"\\]|\\.)*)"
    | "(?P<open>.*)
    | (?P<literal>\[[^\[\]\\]*\])
    | (?P<atom>[^\ \t\r\n()<>@,;:."\[\]\\]+)
    | (?P<mark>.)""",
    re.DOTALL | re.VERBOSE,
)
_BLANKS = re.compile(r"[ \t\r\n]+")
_IN_COMMENT = re.compile(r"\\.|[()]", re.DOTALL)
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)
_NEEDS_BACKSLASH = re.compile(r'(["\\])')
_OPENS = re.compile(r'[(<"]')
_WORDS = frozenset({"atom", "quoted"})


def tokens(body: str) -> Iterator[Token]:
    """Yield the tokens of `body`.  An unterminated comment or quoted string extends to the end."""
    at = 0
    while match := _TOKEN.match(body, at):
        at = match.end()
        kind = match.lastgroup or ""
        if match[0] == "(":
            at = end_of_comment(body, at) or len(body)
        elif kind == "quoted":
            yield Token(kind, _QUOTED_PAIR.sub(r"\1", match[kind]))
        elif kind != "blank":
            yield Token(kind, match[kind])


def mailboxes(body: str) -> Iterator[Path]:
    """Yield the mailboxes of an address list, including those in groups (RFC 5322 sections 3.4 and 4.4).

    Any display name is accepted before an address in angle brackets.
    A malformed mailbox is omitted, and so is one with two addresses, because parsers disagree about it.
    """
    for mailbox in _split(tokens(body)):
        if path := _path(_address(mailbox)):
            yield path


def sole_mailbox(body: str) -> Path | None:
    """Return the mailbox of `body`; None if it is malformed or not the only one."""
    found = list(_split(tokens(body)))
    return _path(_address(found[0])) if len(found) == 1 else None


def list_ids(body: str) -> Iterator[str]:
    """Yield the list-id in angle brackets of a List-Id (RFC 2919 section 3), or the whole body if there are no brackets."""
    found = list(tokens(body))
    inside = _in_brackets(found)
    for candidate in inside or [found]:
        if list_id := _unspaced(candidate):
            yield list_id


def list_posts(body: str) -> Iterator[Path]:
    """Yield the addresses that a List-Post names, as mailto URLs or bare (RFC 2369 sections 2 and 3.4, RFC 6068)."""
    for url in _urls(body):
        scheme, colon, rest = _BLANKS.sub("", url).partition(":")
        for address in _recipients(rest) if scheme.lower() == "mailto" else () if colon else (scheme,):
            try:
                path = Path.parse(address)
            except UsageError:
                continue
            if path.domain:
                yield path


def end_of_comment(body: str, at: int) -> int | None:
    """Return the end of the comment that opened just before `at`; None if it does not end.  Comments nest (RFC 5322 section 3.2.2)."""
    depth = 1
    for mark in _IN_COMMENT.finditer(body, at):
        depth += {"(": 1, ")": -1}.get(mark[0], 0)
        if depth == 0:
            return mark.end()
    return None


def _split(found: Iterable[Token]) -> Iterator[list[Token]]:
    """Yield the tokens between commas and group delimiters; inside angle brackets these do not separate."""
    mailbox: list[Token] = []
    in_brackets = False
    for token in found:
        if token.kind == "mark":
            in_brackets = token.text == "<" or (in_brackets and token.text != ">")
            if not in_brackets and token.text in ",;:":
                yield mailbox
                mailbox = []
                continue
        mailbox.append(token)
    yield mailbox


def _address(mailbox: list[Token]) -> list[Token]:
    """Return the tokens of the address in `mailbox`; none if it has two, or its brackets do not match."""
    marks = [at for at, token in enumerate(mailbox) if token.kind == "mark" and token.text in "<>"]
    if not marks:
        return mailbox
    if [mailbox[at].text for at in marks] != ["<", ">"] or mailbox[-1] != ("mark", ">"):
        return []
    return _without_route(mailbox[marks[0] + 1 : -1])


def _without_route(address: list[Token]) -> list[Token]:
    """Return `address` without its obs-route: `@a.test,@b.test:` (RFC 5322 section 4.4)."""
    if address and address[0].text in {"@", ","} and ("mark", ":") in address:
        return address[address.index(Token("mark", ":")) + 1 :]
    return address


def _path(address: list[Token]) -> Path | None:
    """Return the addr-spec of these tokens; None if they do not form one (RFC 5322 sections 3.4.1 and 4.4)."""
    at = [number for number, token in enumerate(address) if token == ("mark", "@")]
    if len(at) != 1:
        return None
    local, domain = address[: at[0]], address[at[0] + 1 :]
    is_literal = [token.kind for token in domain] == ["literal"]
    if not _is_dotted(local, _WORDS) or not (is_literal or _is_dotted(domain, {"atom"})):
        return None
    text = f"{_local_part(local)}@{_BLANKS.sub('', ''.join(token.text for token in domain))}"
    # A field that is not UTF-8 was decoded with replacement characters.
    if "\ufffd" in text:
        return None
    try:
        return Path.parse(text)
    except UsageError:
        return None


def _local_part(words: list[Token]) -> str:
    """Return words and the dots between them as one local-part, quoted if any word is quoted."""
    text = "".join(word.text for word in words)
    return text if all(word.kind != "quoted" for word in words) else '"{}"'.format(_NEEDS_BACKSLASH.sub(r"\\\1", text))


def _is_dotted(found: list[Token], kinds: Iterable[str]) -> bool:
    """Return whether `found` consists of words of these kinds, separated by dots."""
    return len(found) % 2 == 1 and all(
        token.kind in kinds if number % 2 == 0 else token == ("mark", ".") for number, token in enumerate(found)
    )


def _in_brackets(found: list[Token]) -> list[list[Token]]:
    """Return the tokens inside each pair of angle brackets."""
    inside: list[list[Token]] = []
    begin: int | None = None
    for at, token in enumerate(found):
        if token == ("mark", "<"):
            begin = at + 1
        elif token == ("mark", ">") and begin is not None:
            inside.append(found[begin:at])
            begin = None
    return inside


def _unspaced(found: list[Token]) -> str:
    """Return tokens as one text; "" if two words are adjacent, as in a phrase."""
    for one, other in pairwise(found):
        if one.kind in _WORDS and other.kind in _WORDS:
            return ""
    return "".join(token.text for token in found)


def _urls(body: str) -> list[str]:
    """Return the texts in angle brackets, or else the body split at its commas; comments are ignored."""
    inside: list[str] = []
    outside: list[str] = []
    at = 0
    while mark := _OPENS.search(body, at):
        outside.append(body[at : mark.start()])
        if mark[0] == "(":
            at = end_of_comment(body, mark.end()) or len(body)
            continue
        end = body.find(">" if mark[0] == "<" else '"', mark.end())
        if mark[0] == "<" and end >= 0:
            inside.append(body[mark.end() : end])
        at = end + 1 if end >= 0 else len(body)
    outside.append(body[at:])
    return inside or "".join(outside).split(",")


def _recipients(url: str) -> Iterator[str]:
    """Yield the addresses of a mailto URL, given without its scheme: before `?`, and in `to` fields (RFC 6068 section 2)."""
    first, _, rest = url.partition("?")
    fields = [field.partition("=") for field in rest.split("&")]
    for several in [first, *(value for name, _, value in fields if unquote(name).lower() == "to")]:
        yield from map(unquote, several.split(","))
