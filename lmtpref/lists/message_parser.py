"""Messages parsed by the standard library's email package, without its exceptions."""

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

# The longest header that is parsed.  The time that `email` needs grows with the square of the length.
MAX_PARSED_CHARACTERS = 16_384

_Parse = Callable[[str, dict[str, Any]], None]


class _TolerantRegistry(HeaderRegistry):
    """The header classes of the email package; a value that its class cannot parse stays text."""

    def __getitem__(self, name: str) -> type[BaseHeader]:
        header: Any = super().__getitem__(name)
        return type(header.__name__, (header,), {"parse": staticmethod(partial(_parse_or_keep, header.parse))})


# Without `refold_source`, headers are shown as they were sent.
_POLICY = default.clone(refold_source="none", header_factory=_TolerantRegistry())


def parse_message(octets: bytes) -> EmailMessage:
    """Parse any octets; reading a header of the result never raises an exception.

    A header that the email package cannot parse, or that is longer than MAX_PARSED_CHARACTERS, is its raw text, unfolded;
    its `defects` give the reason.  A body whose parts cannot be separated is one part.
    """
    try:
        return message_from_bytes(octets, policy=_POLICY)
    except Exception:  # for example a body nested a thousand deep
        return BytesHeaderParser(policy=_POLICY).parsebytes(octets)


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
