"""Messages parsed by the standard library's email package, without its exceptions."""

from __future__ import annotations

import re
from collections.abc import Callable
from email import message_from_bytes
from email.errors import InvalidHeaderDefect
from email.headerregistry import BaseHeader, HeaderRegistry
from email.message import EmailMessage
from email.parser import BytesHeaderParser
from email.policy import EmailPolicy
from functools import partial
from typing import Any, cast

# The longest header that is parsed.  The time that `email` needs grows with the square of the length.
MAX_PARSED_CHARACTERS = 16_384

_Parse = Callable[[str, dict[str, Any]], None]


class _TolerantRegistry(HeaderRegistry):
    """The header classes of the email package; a value that its class cannot parse stays text."""

    def __getitem__(self, name: str) -> type[BaseHeader]:
        header: Any = super().__getitem__(name)
        return type(header.__name__, (header,), {"parse": staticmethod(partial(_parse_or_keep, header.parse))})


class _SourcePolicy(EmailPolicy):
    """A policy that writes a parsed header as it was sent, because the email package folds some malformed headers for ever."""

    def fold(self, name: str, value: str) -> str:
        """Return the lines of a header; octets that are not UTF-8 become replacement characters."""
        if isinstance(value, BaseHeader):
            return value.fold(policy=self)
        return self.fold_binary(name, value).decode("utf-8", "replace")

    def fold_binary(self, name: str, value: str) -> bytes:
        """Return the lines of a header in octets."""
        if isinstance(value, BaseHeader):
            return super().fold_binary(name, value)
        lines = _LINE_END.split(f"{name}: {value}")
        return f"{self.linesep.join(lines)}{self.linesep}".encode("utf-8", "surrogateescape")


_EMPTY_LINE = re.compile(rb"^\r?\n", re.MULTILINE)
_BLANK_BEFORE_COLON = re.compile(rb"^([!-9;-~]+)[ \t]+(?=:)", re.MULTILINE)
_LINE_END = re.compile("\r\n|\r|\n")
_POLICY = cast("EmailPolicy[EmailMessage]", _SourcePolicy(header_factory=_TolerantRegistry()))


def parse_message(octets: bytes) -> EmailMessage:
    """Parse any octets; reading a header of the result never raises an exception.

    A header that the email package cannot parse, or that is longer than MAX_PARSED_CHARACTERS, is its raw text, unfolded;
    its `defects` give the reason.  White space before a header's colon is allowed (RFC 5322 section 4.5).  A body whose
    parts cannot be separated is one part.
    """
    octets = _without_blanks_before_colons(octets)
    try:
        return message_from_bytes(octets, policy=_POLICY)
    except Exception:  # for example a body nested a thousand deep
        return BytesHeaderParser(policy=_POLICY).parsebytes(octets)


def _without_blanks_before_colons(octets: bytes) -> bytes:
    """Return a message without the white space before the colons of its header, at which the email package would end the header."""
    end = _EMPTY_LINE.search(octets)
    header_end = end.start() if end else len(octets)
    return _BLANK_BEFORE_COLON.sub(rb"\1", octets[:header_end]) + octets[header_end:]


def _parse_or_keep(parse: _Parse, value: str, keywords: dict[str, Any]) -> None:
    """Call a header class's method `parse`; if it raises an exception, use the raw text."""
    try:
        if len(value) > MAX_PARSED_CHARACTERS:
            raise ValueError(f"longer than {MAX_PARSED_CHARACTERS} characters")  # noqa: TRY301 - as what cannot be parsed
        parse(value, keywords)
    except Exception as error:
        keywords["defects"] = []
        parse("", keywords)
        keywords |= {"decoded": value, "defects": [InvalidHeaderDefect(f"not parsed: {error}")]}
    # For a charset with a NUL, bytes.decode() raises another exception than for an unknown charset.
    keywords["decoded"] = keywords["decoded"].replace("\0", "\ufffd")
