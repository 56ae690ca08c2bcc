"""XFORWARD: the client of a known MTA, as that MTA reports it (Postfix's XFORWARD_README)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from lmtpref.protocol.catalogue import XFORWARD_SYNTAX_501
from lmtpref.protocol.peer_error import PeerError

ATTRIBUTES = ("NAME", "ADDR", "PORT", "PROTO", "HELO", "IDENT", "SOURCE")
MAX_VALUE_CHARACTERS = 255  # encoded; XFORWARD_README, note 1
Origin = Mapping[str, str | None]  # attribute -> its value; None: unavailable

UNAVAILABLE: Origin = MappingProxyType(dict.fromkeys(ATTRIBUTES))
_HEX_PAIR = re.compile(r"\+([0-9A-F]{2})")  # RFC 3461 section 4: xtext = *( xchar / hexchar ); hexchar = "+" 2(HEXDIG)
_VALUE = re.compile(r"[!#-'*+\-./0-9:=?A-Z\[\]^-~]+")  # decoded: no blanks, no controls, none of ()<>@,;\" of a header


def parse_xforward(argument: str) -> dict[str, str | None]:
    """Return the attributes that one XFORWARD sets, names in capitals, values decoded; None for `[UNAVAILABLE]`.

    A value that is not xtext is used as it is, since old Postfix versions send such.  Raises PeerError (501) for anything else.
    """
    words = [word.partition("=") for word in argument.split(" ") if word]
    attributes = {name.upper(): _decoded(value) for name, _, value in words}
    if not words or any(name not in UNAVAILABLE for name in attributes):
        raise PeerError(XFORWARD_SYNTAX_501)
    return attributes


def _decoded(value: str) -> str | None:
    if value.upper() == "[UNAVAILABLE]":
        return None
    decoded = _HEX_PAIR.sub(lambda match: chr(int(match[1], 16)), value)
    if len(value) > MAX_VALUE_CHARACTERS or not _VALUE.fullmatch(decoded):
        raise PeerError(XFORWARD_SYNTAX_501)
    return decoded
