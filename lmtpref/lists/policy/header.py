"""The header of a message as rules see it: each fact is parsed once, on first access, and never raises an exception."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from lmtpref.lists.addresses import fold_address
from lmtpref.lists.policy.field_body import list_ids, list_posts, mailboxes, sole_mailbox
from lmtpref.protocol.syntax import Path

# The header is read up to 256 KiB.
MAX_HEADER_OCTETS = 262_144
# The octets of one field body that are read; RFC 5322 section 2.1.1 limits a line to 998.
MAX_VALUE_OCTETS = 4096
# The fields of one name that are read; RFC 5322 section 3.6 allows one From.
MAX_FIELDS = 10
# The addresses in From, Reply-To and Sender together that are looked up.
MAX_SENDERS = 10

# RFC 5322 section 3.6.2: the fields that name a message's senders.
_SENDER_FIELDS = ("from", "reply-to", "sender")
# The fields that every reader delimits in the same way: no blank before the colon, no bare CR or LF.
_BODY = rb"[^\r\n]*+(?:\r\n[ \t][^\r\n]*+)*+"
_STRICT_FIELDS = re.compile(rb"(?:[!-9;-~]++:%b(?:\r\n|\Z))*+" % _BODY)
_FOLD = re.compile(r"\r?\n(?=[ \t])")
# The parser omits a mailbox with an unterminated quoted string, so this mark makes it omit the one that was cut.
_CUT = '"'
_NO_LISTS: frozenset[str] = frozenset()


class Header:
    """The header of the message `content`: the fields before its first empty line, up to MAX_HEADER_OCTETS octets.

    `has_from` says whether there is a From field, and `received` is the number of Received fields.
    `lists` are the lists that List-Id and List-Post name, in the form of `MailingList.identities`.
    Lines end in CRLF or, because BDAT allows it, in LF.
    White space is allowed between a field's name and its colon (RFC 5322 section 4.5).
    """

    __slots__ = ("_content", "_lower", "_senders", "has_from", "lists", "received")

    def __init__(self, content: bytes) -> None:
        self._content = content
        # The header in lower case, after a newline.
        self._lower = lower = b"\n" + _header_of(content).lower()
        self._senders: tuple[Path, ...] | None = None
        # Each recipient of the message needs these.
        self.has_from = _count("from", b"\nfrom", lower) > 0
        self.received = _count("received", b"\nreceived", lower)
        self.lists = frozenset(self._named_lists()) if b"\nlist-" in lower else _NO_LISTS

    @property
    def senders(self) -> tuple[Path, ...]:
        """The addresses in From, Reply-To and Sender, in this order and without duplicates."""
        if self._senders is None:
            bodies = (body + _CUT if cut else body for name in _SENDER_FIELDS for body, cut in self._bodies(name))
            paths = {fold_address(path.address): path for body in bodies for path in mailboxes(body)}
            self._senders = tuple(paths.values())[:MAX_SENDERS]
        return self._senders

    @property
    def sole_author(self) -> Path | None:
        """The address in From; None unless From is one field with one address, and the header was read to its end."""
        bodies = list(self._bodies("from"))
        if len(bodies) != 1 or bodies[0][1] or len(self._lower) > MAX_HEADER_OCTETS:
            return None
        return sole_mailbox(bodies[0][0])

    @property
    def message_id(self) -> str | None:
        """The value of the first Message-ID as it was sent, unfolded; None without one."""
        return next(iter(self.values("message-id")), None)

    def values(self, name: str) -> list[str]:
        """Return the bodies of the first MAX_FIELDS fields called `name` (in lower case), unfolded.

        A body longer than MAX_VALUE_OCTETS is truncated.
        """
        return [body for body, _ in self._bodies(name)]

    def strict_fields(self, *names: str) -> Iterator[tuple[str, str]]:
        """Yield the fields called one of `names` (in lower case), unfolded, up to the first line that readers may delimit differently."""
        text = _header_of(self._content)
        strict = _STRICT_FIELDS.match(text)
        assert strict
        for match in _strict_fields_of(names).finditer(text, 0, strict.end()):
            yield match[1].decode("ascii").lower(), match[2].replace(b"\r\n", b"").decode("utf-8", "replace")

    def _bodies(self, name: str) -> Iterator[tuple[str, bool]]:
        """Yield the bodies of the fields called `name`, and whether each was truncated."""
        text, end = b"\n" + _header_of(self._content), 0
        for _ in range(MAX_FIELDS):
            begin = _begin_of(name).search(self._lower, end)
            if begin is None:
                return
            start, end = begin.end(), _end_of_field(text, begin.end())
            body = text[start : min(end, start + MAX_VALUE_OCTETS)].decode("utf-8", "replace")
            yield _FOLD.sub("", body).strip(" \t\r\n"), end > start + MAX_VALUE_OCTETS

    def _named_lists(self) -> Iterator[str]:
        for body in self.values("list-id"):
            yield from map(fold_address, list_ids(body))
        for body in self.values("list-post"):
            yield from (fold_address(path.address) for path in list_posts(body))


def _count(name: str, begin: bytes, lower: bytes) -> int:
    """Return the number of fields `name` in a header in lower case; `begin` is a newline and the name."""
    found = lower.count(begin)
    # The regular expression is needed only for white space before the colon, and for a name that begins like this one.
    return found if not found or found == lower.count(begin + b":") else len(_begin_of(name).findall(lower))


@lru_cache(maxsize=16)
def _begin_of(name: str) -> re.Pattern[bytes]:
    """Return a regular expression for the beginning of a field `name` in a header in lower case."""
    return re.compile(rb"\n%b[ \t]*:" % re.escape(name.encode()))


@lru_cache(maxsize=16)
def _strict_fields_of(names: tuple[str, ...]) -> re.Pattern[bytes]:
    """Return a regular expression for a field with one of these names, among strict fields."""
    return re.compile(rb"(?im)^(%b):(%b)" % ("|".join(map(re.escape, names)).encode(), _BODY))


def _end_of_field(text: bytes, start: int) -> int:
    """Return the end of the field whose body begins at `start`: before a line that does not begin with white space."""
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
