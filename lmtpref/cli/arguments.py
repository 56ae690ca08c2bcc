"""What the commands take as arguments: texts and numbers that are checked before they are used."""

from __future__ import annotations

import math
from argparse import ArgumentTypeError

MAX_SECONDS = 1_000_000.0  # about twelve days; the clocks of the standard library end at about 292 years


def path_name(text: str) -> str:
    """Return `text`, the name of a file or a folder.  Raises ArgumentTypeError if it is empty, as an unset variable of a shell is."""
    if not text:
        raise ArgumentTypeError("a name is needed, not an empty text")
    return text


def seconds(text: str) -> float:
    """Return the number of seconds that `text` says.  Raises ArgumentTypeError unless it is above 0, and at most MAX_SECONDS."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number <= MAX_SECONDS:
        raise ArgumentTypeError(f"a number of seconds is needed, above 0 and at most {MAX_SECONDS:g}")
    return number


def wire_line(text: str) -> str:
    """Return `text`, for one line of the protocol.  Raises ArgumentTypeError for a CR or LF in it, and for what is not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ArgumentTypeError("not UTF-8") from None
    if "\r" in text or "\n" in text:
        raise ArgumentTypeError("a line is needed, without CR and LF")
    return text
