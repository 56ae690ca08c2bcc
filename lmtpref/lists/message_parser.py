"""Messages parsed by the standard library's email package, without its errors."""

from __future__ import annotations

from collections.abc import Callable
from email import message_from_bytes
from email.errors import InvalidHeaderDefect
from email.headerregistry import BaseHeader, HeaderRegistry
from email.message import EmailMessage
from email.parser import BytesHeaderParser
from email.policy import default
from functools import partial
from typing import Any

MAX_PARSED_CHARACTERS = 16_384  # of one header; the time that email takes grows with the square of the length

_Parse = Callable[[str, dict[str, Any]], None]


class _TolerantRegistry(HeaderRegistry):
    """The header classes of the email package; a value that one of them cannot parse is kept as its text."""

    def __getitem__(self, name: str) -> type[BaseHeader]:
        header: Any = super().__getitem__(name)
        return type(header.__name__, (header,), {"parse": staticmethod(partial(_parse_or_keep, header.parse))})


# `refold_source`: headers are shown as they were sent.
_POLICY = default.clone(refold_source="none", header_factory=_TolerantRegistry())


def parse_message(octets: bytes) -> EmailMessage:
    """Return `octets` parsed, whatever they hold; no header of it raises an exception when it is read.

    A header that the email package cannot parse, or that is longer than MAX_PARSED_CHARACTERS, is its raw text, unfolded;
    its `defects` say why.  A body whose parts cannot be found is one part.
    """
    try:
        return message_from_bytes(octets, policy=_POLICY)
    except Exception:  # parts nested a thousand deep, for one
        return BytesHeaderParser(policy=_POLICY).parsebytes(octets)


def _parse_or_keep(parse: _Parse, value: str, keywords: dict[str, Any]) -> None:
    """Do as the class method `parse` of a header class does, with the raw text for what it cannot parse."""
    try:
        if len(value) > MAX_PARSED_CHARACTERS:
            raise ValueError(f"longer than {MAX_PARSED_CHARACTERS} characters")  # noqa: TRY301 - as what cannot be parsed
        parse(value, keywords)
    except Exception as error:
        keywords["defects"] = []
        parse("", keywords)
        keywords |= {"decoded": value, "defects": [InvalidHeaderDefect(f"not parsed: {error}")]}
    # The charset of a parameter must not hold a NUL: bytes.decode() refuses that with another exception than an unknown one.
    keywords["decoded"] = keywords["decoded"].replace("\0", "\ufffd")
