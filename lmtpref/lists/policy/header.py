"""What the rules want to know of a message's header: read once, when first asked for, and never an error."""

from __future__ import annotations

import re
from collections.abc import Iterable

from lmtpref.lists.addresses import fold
from lmtpref.protocol.errors import UsageError
from lmtpref.protocol.syntax import Path

MAX_HEADER_OCTETS = 262_144  # 256 KiB; what stands behind is not looked at
MAX_VALUE_OCTETS = 4096  # of one field; RFC 5322 section 2.1.1 asks for lines of 998
MAX_FIELDS = 10  # of one name that are read; RFC 5322 section 3.6 knows one From
MAX_SENDERS = 10  # addresses in From, Reply-To and Sender together that are asked for

# RFC 2919 section 3: list-id-header = "List-ID:" [phrase] "<" list-id ">" CRLF; some leave the brackets out.
_LIST_ID = re.compile(r"<([^<>]*)>\s*$|^\s*([^\s<>]+)\s*$")
# RFC 2369 section 3.4: List-Post = "<mailto:" address ["?" headers] ">"; some write the address alone.
_LIST_POST = re.compile(r"([^\s<>,:?]{1,64}@[^\s<>,?]{1,255})")
# RFC 5322 sections 3.2.2 and 3.2.4: comments and quoted strings, which may hold what looks like an address.
_NOT_AN_ADDRESS = re.compile(r'"(?:[^"\\]|\\.)*"?|\((?:[^()\\]|\\.)*\)?')
_IN_BRACKETS = re.compile(r"<([^<>]*)>")


class Header:
    """The header of the message `content`: the fields before its first empty line, at most MAX_HEADER_OCTETS of them.

    Lines may end in CRLF or, as BDAT can bring them, in LF.
    """

    __slots__ = ("_content", "_lists", "_lower", "_senders")

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._lower = b""
        self._senders: tuple[Path, ...] | None = None
        self._lists: frozenset[str] | None = None

    @property
    def has_from(self) -> bool:
        """Whether there is a From."""
        return b"\nfrom:" in self._folded

    @property
    def received(self) -> int:
        """How many Received fields there are."""
        return self._folded.count(b"\nreceived:")

    @property
    def senders(self) -> tuple[Path, ...]:
        """The addresses in From, Reply-To and Sender, each once, in this order."""
        if self._senders is None:
            values = [value for name in ("from", "reply-to", "sender") for value in self.values(name)]
            paths = {fold(path.address): path for value in values for path in _paths(value)}
            self._senders = tuple(paths.values())[:MAX_SENDERS]
        return self._senders

    @property
    def lists(self) -> frozenset[str]:
        """The lists that it has been through: what List-Id and List-Post name, without case."""
        if self._lists is None:
            self._lists = frozenset(self._named_lists()) if b"\nlist-" in self._folded else frozenset()
        return self._lists

    def values(self, name: str) -> list[str]:
        """What the fields called `name` (in small letters) hold, unfolded."""
        found: list[str] = []
        mark, end = b"\n%b:" % name.encode(), 0
        text, lower = b"\n" + _header_of(self._content), self._folded
        while len(found) < MAX_FIELDS and (start := lower.find(mark, end)) >= 0:
            end = _end_of_field(text, start + len(mark))
            value = text[start + len(mark) : min(end, start + MAX_VALUE_OCTETS)]
            found.append(" ".join(value.decode("utf-8", "replace").split()))
        return found

    @property
    def _folded(self) -> bytes:
        """The header in small letters, behind a newline."""
        if not self._lower:
            self._lower = b"\n" + _header_of(self._content).lower()
        return self._lower

    def _named_lists(self) -> Iterable[str]:
        for value in self.values("list-id"):
            if match := _LIST_ID.search(value):
                yield fold(match[1] or match[2] or "")
        for value in self.values("list-post"):
            yield from map(fold, _LIST_POST.findall(value))


def _end_of_field(text: bytes, start: int) -> int:
    """Where the field ends whose value begins at `start`: before a line that does not begin with a blank."""
    while True:
        end = text.find(b"\n", start)
        if end < 0:
            return len(text)
        if text[end + 1 : end + 2] not in (b" ", b"\t"):
            return end
        start = end + 1


def _header_of(content: bytes) -> bytes:
    if content.startswith((b"\r\n", b"\n")):
        return b""
    end = content.find(b"\n\r\n", 0, MAX_HEADER_OCTETS)
    end = MAX_HEADER_OCTETS if end < 0 else end
    bare = content.find(b"\n\n", 0, end)
    return content[: end if bare < 0 else bare]


def _paths(value: str) -> Iterable[Path]:
    """The mailboxes in a field of RFC 5322 section 3.6.2; one whose local-part is quoted is not seen."""
    for mailbox in re.split("[,;:]", _NOT_AN_ADDRESS.sub(" ", value)):
        in_brackets = _IN_BRACKETS.search(mailbox)
        try:
            path = Path.parse((in_brackets[1] if in_brackets else mailbox).strip())
        except UsageError:
            continue
        if path.domain and "\ufffd" not in path.address:  # where there was no UTF-8
            yield path
