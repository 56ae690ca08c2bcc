"""Replies as values; the wording of each standard reply is in `catalogue`.

RFC 5321 section 4.2 defines the form of a reply, RFC 2034 the place of the enhanced code in it, RFC 3463 the meaning
of that code.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple, Self

from lmtpref.protocol.errors import UsageError

MAX_REPLY_LINE_OCTETS = 512  # with code and CRLF; RFC 5321 section 4.5.3.1.5
MAX_REPLY_TEXT_OCTETS = MAX_REPLY_LINE_OCTETS - len("250-") - len("5.123.123 ") - len("\r\n")
# Longer addresses are not echoed, so that a reply fits in one line.
MAX_NAMED_ADDRESS_OCTETS = 254

# RFC 2034 section 4: status-code = ("2"/"4"/"5") "." 1*3digit "." 1*3digit; RFC 3463 section 2 forbids leading zeros.
_ENHANCED = re.compile(r"([245])\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})", re.ASCII)
# RFC 5321 section 4.2: Reply-line = Reply-code [ SP textstring ]; textstring = 1*(%d09 / %d32-126)
_TEXT = re.compile(r"[\t -~]+")
_LINE = re.compile(r"([2-5]\d\d)(?:([ -])(.*))?", re.ASCII | re.DOTALL)


class EnhancedCode(NamedTuple):
    """An enhanced status code: class, subject, detail (RFC 3463 section 2)."""

    class_: int
    subject: int
    detail: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the code in `text`.  Raises UsageError for anything else."""
        if not (match := _ENHANCED.fullmatch(text)):
            raise UsageError(f"not an enhanced status code (RFC 2034 section 4): {text!r}")
        return cls(*map(int, match.groups()))

    def __str__(self) -> str:
        return f"{self.class_}.{self.subject}.{self.detail}"


@dataclass(frozen=True, slots=True, init=False)
class Reply:
    """One reply, of one line or several: code, enhanced code, text (RFC 5321 section 4.2, RFC 2034 section 4).

    >>> print(Reply(550, "5.7.2", "Not a member"))
    550 5.7.2 Not a member

    `octets` is the reply as sent, with CRLFs; a text line that is too long is folded into several.
    Two replies with the same octets are equal.

    Raises UsageError for a code outside 200-599, an enhanced code of another class, an empty text, and octets that
    a reply cannot hold, such as CR and LF.
    """

    code: int = field(compare=False)
    enhanced: EnhancedCode | None = field(compare=False)
    lines: tuple[str, ...] = field(compare=False)
    octets: bytes = field(repr=False)

    def __init__(self, code: int, enhanced: EnhancedCode | str | None, *lines: str) -> None:
        _check_types(code, enhanced, lines)
        if isinstance(enhanced, str):
            enhanced = EnhancedCode.parse(enhanced)
        if not 200 <= code <= 599:
            raise UsageError(f"reply codes begin with 2 to 5 (RFC 5321 section 4.2): {code}")
        if enhanced and enhanced.class_ != code // 100:
            raise UsageError(f"the class of {enhanced} is not that of {code} (RFC 2034 section 4)")
        if not lines or not all(map(_TEXT.fullmatch, lines)):
            raise UsageError(f"reply text must be printable ASCII and not empty (RFC 5321 section 4.2): {lines!r}")
        self._fill(code, enhanced, tuple(piece for line in lines for piece in _folded(line)))

    def _fill(self, code: int, enhanced: EnhancedCode | None, lines: tuple[str, ...]) -> None:
        label = f"{enhanced} " if enhanced else ""
        head = "".join([f"{code}-{label}{line}\r\n" for line in lines[:-1]])
        octets = f"{head}{code} {label}{lines[-1]}\r\n".encode("ascii", "backslashreplace")
        for name, value in (("code", code), ("enhanced", enhanced), ("lines", lines), ("octets", octets)):
            object.__setattr__(self, name, value)

    @classmethod
    def _of(cls, code: int, enhanced: EnhancedCode | None, lines: tuple[str, ...]) -> Self:
        """Create a reply without the constructor's checks."""
        reply = cls.__new__(cls)
        reply._fill(code, enhanced, lines)
        return reply

    @classmethod
    def parse(cls, lines: list[str]) -> Self:
        """Return the reply in a peer's `lines` (without CRLF); less strict than the constructor, as RFC 5321 section 4.2 asks.

        Raises UsageError if the lines are no reply: no code, or different codes.
        """
        found = [_LINE.fullmatch(line) for line in lines]
        codes = {match[1] for match in found if match}
        if not lines or None in found or len(codes) != 1:
            raise UsageError(f"not a reply (RFC 5321 section 4.2): {lines!r}")
        texts = [match[3] or "" for match in found if match]
        enhanced, texts = _split_enhanced(codes, texts)
        return cls._of(int(codes.pop()), enhanced, tuple(texts))

    @property
    def positive(self) -> bool:
        """Whether the code begins with 2: Positive Completion (RFC 2033 section 4)."""
        return 200 <= self.code < 300

    def naming(self, address: str) -> Reply:
        """Return this reply with `<address>` before its text, as RFC 2920 section 3.2 item 10 asks.

        A long or non-ASCII address is omitted (RFC 6531 section 3.7.4.2).
        """
        return _named(self, address)

    def __str__(self) -> str:
        return self.octets.decode("ascii").replace("\r\n", "\n").removesuffix("\n")


def _check_types(code: object, enhanced: object, lines: tuple[object, ...]) -> None:
    """Check the arguments of a reply.  Raises UsageError that describes the correct value of the wrong argument."""
    if not isinstance(code, int) or isinstance(code, bool):
        raise UsageError(f"a reply code is a number, such as 550; not {code!r}")
    if isinstance(enhanced, str) and not lines:
        raise UsageError(f"the enhanced code comes second, or None, and then the text; not {code}, {enhanced!r}")
    if not isinstance(enhanced, str | EnhancedCode | None):
        raise UsageError(f"an enhanced code is a str, such as '5.1.1', or None; not {enhanced!r}")
    for line in lines:
        if not isinstance(line, str):
            raise UsageError(f"the text of a reply is a str; not {line!r}")


class NamingReply:
    """A reply of one line that names an address, as octets: `before` the address, and `after` it."""

    __slots__ = ("after", "before", "reply")

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.after = f"{reply.lines[-1]}\r\n".encode()
        self.before = reply.octets.removesuffix(self.after)


@lru_cache(maxsize=2048)
def in_brackets(address: str) -> bytes:
    """Return the address in the form that replies echo; empty if they do not (RFC 6531 section 3.7.4.2)."""
    return f"<{address}> ".encode() if _may_be_named(address) else b""


def _may_be_named(address: str) -> bool:
    return len(address) <= MAX_NAMED_ADDRESS_OCTETS and address.isascii() and address.isprintable()


@lru_cache(maxsize=2048)
def _named(reply: Reply, address: str) -> Reply:
    if not _may_be_named(address):
        return reply
    first, *rest = reply.lines
    return Reply._of(reply.code, reply.enhanced, (*_folded(f"<{address}> {first}"), *rest))


def _folded(line: str) -> list[str]:
    if len(line) <= MAX_REPLY_TEXT_OCTETS:
        return [line]
    return textwrap.wrap(line, MAX_REPLY_TEXT_OCTETS, break_on_hyphens=False) or [line[:MAX_REPLY_TEXT_OCTETS]]


def _split_enhanced(codes: set[str], texts: list[str]) -> tuple[EnhancedCode | None, list[str]]:
    """Return the enhanced code that every line has, and the texts without it; (None, texts) without a common code."""
    first = _ENHANCED.match(texts[0])
    if not first or first[1] not in {code[0] for code in codes} or not all(f"{text} ".startswith(f"{first[0]} ") for text in texts):
        return None, texts
    return EnhancedCode.parse(first[0]), [text[first.end() + 1 :] for text in texts]
