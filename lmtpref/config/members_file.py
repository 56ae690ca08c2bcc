"""The format of a members_file: on each line an address, or a name and an address."""

from __future__ import annotations

import re
from pathlib import Path

from lmtpref.config.toml import read_text
from lmtpref.lists.addresses import parse_address
from lmtpref.protocol.errors import ConfigurationError

# ADDRESS, or NAME <ADDRESS>, or nothing; then a comment, whose # begins the line or follows a blank.  The name may be quoted.
# A # with a digit after it begins no comment in an unquoted name: `Anne #1 <anne@home.test>`.
# Each quantifier is possessive, so the time is proportional to the length of the line.
_QUOTED = r'"(?:[^"\\]|\\.)*+"'
_LOCAL = rf"(?:{_QUOTED}@)?+"
_LINE = re.compile(
    rf"""\s*+(?:(?:{_QUOTED}|[^"<>#]|(?<=\S)\#)*+<\s*+(?P<named>{_LOCAL}[^<>\s]++)\s*+>
    |[^"<>@#\s](?:[^"<>@#]|\#(?=\d))*+<\s*+(?P<numbered>{_LOCAL}[^<>\s]++)\s*+>
    |(?P<alone>{_LOCAL}[^\s#]\S*+))?+\s*+(?:(?<!\S)\#.*+)?+""",
    re.VERBOSE,
)


def read_members(path: Path) -> list[str]:
    """Return the addresses in the file `path`; empty lines and comments do not count.

    Raises ConfigurationError, naming file and line: if the file cannot be read, or a line holds anything else.
    """
    numbered = ((number, _address(line)) for number, line in enumerate(read_text(path).split("\n"), 1))
    members = [(number, address) for number, address in numbered if address]
    for number, address in members:
        try:
            parse_address(address)
        except ConfigurationError as error:
            raise ConfigurationError(error.problem, file=path, line=number, key="members_file") from None
    return [address for _, address in members]


def _address(line: str) -> str:
    """Return the address on `line`; if it has none, the whole line, which then fails to parse."""
    match = _LINE.fullmatch(line)
    return (match["named"] or match["numbered"] or match["alone"] or "") if match else line.strip()
