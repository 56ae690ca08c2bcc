"""The service extensions on offer: one table, from which LHLO's reply, the parameters and the room for them follow."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lmtpref.protocol.catalogue import PARAMETER_SYNTAX_501, UNKNOWN_PARAMETER_555
from lmtpref.protocol.errors import PeerError

BASE_COMMAND_LINE_OCTETS = 512  # with CRLF; RFC 5321 section 4.5.3.1.4

Check = Callable[[str | None], bool]


@dataclass(frozen=True, slots=True)
class Extension:
    """A service extension (RFC 5321 section 2.2): its keyword, and what it adds to MAIL.

    `room_octets` is by how much a command line may be longer because of it; `legal` tells whether the value of its
    parameter (None where there is no `=`) has the right form.
    """

    keyword: str
    source: str
    parameter: str | None = None
    legal: Check | None = None
    room_octets: int = 0


_SIZE = re.compile(r"\d{1,20}", re.ASCII)  # RFC 1870 section 3: size-value ::= 1*20DIGIT


def _is_size(value: str | None) -> bool:
    return value is not None and _SIZE.fullmatch(value) is not None


def _is_body(value: str | None) -> bool:
    return value is not None and value.upper() in {"7BIT", "8BITMIME"}


def _is_absent(value: str | None) -> bool:
    return value is None


EXTENSIONS = (
    Extension("PIPELINING", "RFC 2920"),
    Extension("ENHANCEDSTATUSCODES", "RFC 2034"),
    Extension("8BITMIME", "RFC 6152", "BODY", _is_body, room_octets=17),
    Extension("SIZE", "RFC 1870", "SIZE", _is_size, room_octets=26),
    Extension("SMTPUTF8", "RFC 6531", "SMTPUTF8", _is_absent, room_octets=10),
)

# One length for every verb: what RFC 5321 demands, and the room that each extension on offer adds.
MAX_COMMAND_LINE_OCTETS = BASE_COMMAND_LINE_OCTETS + sum(extension.room_octets for extension in EXTENSIONS)

_MAIL_PARAMETERS: dict[str, Check] = {e.parameter: e.legal for e in EXTENSIONS if e.parameter and e.legal}


def check_mail_parameters(parameters: Mapping[str, str | None]) -> None:
    """Return if MAIL may bear `parameters`.

    Raises PeerError with 555 for one that no extension on offer defines (RFC 5321 section 4.1.1.11), and with 501
    for a value of the wrong form.
    """
    for name, value in parameters.items():
        if (legal := _MAIL_PARAMETERS.get(name)) is None:
            raise PeerError(UNKNOWN_PARAMETER_555)
        if not legal(value):
            raise PeerError(PARAMETER_SYNTAX_501)
