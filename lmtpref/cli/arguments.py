"""Parsers for arguments of the commands, which check texts and numbers before they are used."""

from __future__ import annotations

import codecs
import math
import re
from argparse import ArgumentTypeError

from lmtpref.protocol.syntax import is_hostname

MAX_SECONDS = 1_000_000.0  # about twelve days; the clocks of the standard library end at about 292 years


def path_name(text: str) -> str:
    """Return `text`, the name of a file or folder.  Raises ArgumentTypeError if it is empty, for example from an unset shell variable."""
    if not text:
        raise ArgumentTypeError("a name is needed, not an empty text")
    return text


def domain_name(text: str) -> str:
    """Return `text`, a domain.  Raises ArgumentTypeError if no address can have it."""
    if not is_hostname(text):
        raise ArgumentTypeError(f"not a domain: {text!r}")
    return text


def seconds(text: str) -> float:
    """Return the seconds in `text`.  Raises ArgumentTypeError unless the number is above 0, and at most MAX_SECONDS."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number <= MAX_SECONDS:
        raise ArgumentTypeError(f"a number of seconds is needed, above 0 and at most {MAX_SECONDS:g}")
    return number


def wire_line(text: str) -> str:
    """Return `text`, for one line of the protocol.  Raises ArgumentTypeError if it contains CR or LF, or is not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ArgumentTypeError("not UTF-8") from None
    if "\r" in text or "\n" in text:
        raise ArgumentTypeError("a line is needed, without CR and LF")
    return text


def message_of(text: bytes) -> bytes:
    """Return the message in the octets of a text file: its lines end in CRLF, and a byte order mark is no part of it."""
    return re.sub(rb"\r?\n", b"\r\n", text.removeprefix(codecs.BOM_UTF8))
