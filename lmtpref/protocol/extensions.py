"""The service extensions: one table, from which LHLO's reply, MAIL's parameters and the line lengths follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from lmtpref.protocol.catalogue import PARAMETER_SYNTAX_501, UNKNOWN_PARAMETER_555
from lmtpref.protocol.domains import ascii_name
from lmtpref.protocol.limits import announce
from lmtpref.protocol.peer_error import PeerError
from lmtpref.protocol.replies import Reply
from lmtpref.protocol.settings import Settings
from lmtpref.protocol.syntax import parse_size
from lmtpref.protocol.xforward import ATTRIBUTES

BASE_COMMAND_LINE_OCTETS = 512  # with CRLF; RFC 5321 section 4.5.3.1.4


@dataclass(frozen=True, slots=True)
class Offer:
    """The conditions for offering extensions: the peer and the settings."""

    settings: Settings
    known: bool
    secure: bool


def _always(_offer: Offer) -> bool:
    return True


def _no_words(_settings: Settings) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Extension:
    """A service extension (RFC 5321 section 2.2): its keyword, when it is offered, and its MAIL parameter.

    `legal` checks the form of a value of its MAIL parameter (None without a `=`); `room_octets`
    is the length that it adds to a command line.  `words` follow the keyword in LHLO's reply.
    """

    keyword: str
    source: str
    parameter: str | None = None
    legal: Callable[[str | None], bool] | None = None
    room_octets: int = 0
    offered: Callable[[Offer], bool] = _always
    words: Callable[[Settings], str] = _no_words

    def line(self, settings: Settings) -> str:
        """Return its line in LHLO's reply."""
        return f"{self.keyword} {self.words(settings)}".rstrip()


_BODIES = frozenset({"7BIT", "8BITMIME", "BINARYMIME"})  # RFC 6152 section 2, RFC 3030 section 3


def _is_size(value: str | None) -> bool:
    return parse_size(value) is not None


def _is_body(value: str | None) -> bool:
    # The capital of U+0131, the dotless i, is an I.
    return value is not None and value.isascii() and value.upper() in _BODIES


def _is_absent(value: str | None) -> bool:
    return value is None


EXTENSIONS = (
    Extension("PIPELINING", "RFC 2920"),
    Extension("ENHANCEDSTATUSCODES", "RFC 2034"),
    Extension("8BITMIME", "RFC 6152", "BODY", _is_body, room_octets=17),
    Extension("SIZE", "RFC 1870", "SIZE", _is_size, room_octets=26, words=lambda settings: str(settings.max_message_octets)),
    Extension("CHUNKING", "RFC 3030"),
    Extension("BINARYMIME", "RFC 3030", room_octets=16),
    Extension("SMTPUTF8", "RFC 6531", "SMTPUTF8", _is_absent, room_octets=10),
    Extension("LIMITS", "RFC 9422", offered=lambda offer: bool(announce(offer.settings)), words=announce),
    Extension("STARTTLS", "RFC 3207", offered=lambda offer: offer.settings.starttls and not offer.secure),
    Extension("XFORWARD", "Postfix", offered=lambda offer: offer.known, words=lambda _settings: " ".join(ATTRIBUTES)),
)

# One length for every verb: the length that RFC 5321 requires, and the room that each offered extension adds.
MAX_COMMAND_LINE_OCTETS = BASE_COMMAND_LINE_OCTETS + sum(extension.room_octets for extension in EXTENSIONS)

_MAIL_PARAMETERS = {e.parameter: e.legal for e in EXTENSIONS if e.parameter and e.legal}


@lru_cache(maxsize=64)
def greeting(hostname: str) -> Reply:
    """Return the first words of a greeting: the server's name and the protocol (RFC 5321 section 4.2)."""
    return Reply(220, None, f"{ascii_name(hostname)} LMTP lmtpref")


@lru_cache(maxsize=64)
def lhlo_reply(offer: Offer) -> Reply:
    """Return LHLO's positive reply: our name, then a line for each extension; no enhanced codes (RFC 2034 section 4)."""
    lines = [extension.line(offer.settings) for extension in EXTENSIONS if extension.offered(offer)]
    return Reply(250, None, ascii_name(offer.settings.hostname), *lines)


def check_mail_parameters(parameters: Mapping[str, str | None]) -> None:
    """Check the `parameters` of MAIL.

    Raises PeerError with 555 for one that no offered extension defines (RFC 5321 section 4.1.1.11), and with 501
    for a value of the wrong form.
    """
    for name, value in parameters.items():
        if (legal := _MAIL_PARAMETERS.get(name)) is None:
            raise PeerError(UNKNOWN_PARAMETER_555)
        if not legal(value):
            raise PeerError(PARAMETER_SYNTAX_501)
