"""Command lines as values: verbs, paths, parameters.

The production of RFC 5321 stands above each pattern, with our deviations.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from lmtpref.protocol.catalogue import (
    ASCII_ONLY_500,
    BAD_RECIPIENT_501,
    BAD_SENDER_501,
    BDAT_SYNTAX_501,
    ILLEGAL_CHARACTER_501,
    MAIL_SYNTAX_501,
    NO_ARGUMENT_501,
    NO_COMMAND_500,
    NOT_ASCII_500,
    NOT_UTF8_500,
    PARAMETER_SYNTAX_501,
    RCPT_SYNTAX_501,
)
from lmtpref.protocol.domains import MAX_DOMAIN_CHARACTERS, ascii_name
from lmtpref.protocol.errors import UsageError
from lmtpref.protocol.peer_error import PeerError
from lmtpref.protocol.replies import Reply

# RFC 5321 section 4.1.2, with the octets above 127 that RFC 6531 section 3.3 adds; the session decides when those are allowed.
# So a set is written by its complement, which is ASCII, because a set that names a million characters is slow to compile.
# Atom = 1*atext; Dot-string = Atom *("." Atom)
_ATOM = r'[^\x00- "(),.:;<>@[\\\]\x7f]+'
_DOT_STRING = rf"{_ATOM}(?:\.{_ATOM})*"
# Quoted-string = DQUOTE *QcontentSMTP DQUOTE; qtextSMTP = %d32-33 / %d35-91 / %d93-126; quoted-pairSMTP = %d92 %d32-126
_QUOTED_STRING = r'"(?:[^\x00-\x1f"\\\x7f]|\\[ -~])*"'
# sub-domain = Let-dig [Ldh-str]; Domain = sub-domain *("." sub-domain)
# An underscore is allowed like a letter (A19): hosts have such names, and their mail needs replies.
_SUB_DOMAIN = r"[^\x00-/:-@[-^`{-\x7f]+(?:-+[^\x00-/:-@[-^`{-\x7f]+)*"
_DOMAIN = rf"{_SUB_DOMAIN}(?:\.{_SUB_DOMAIN})*"
# address-literal = "[" ( IPv4-address-literal / IPv6-address-literal / General-address-literal ) "]"
_LITERAL = r"\[[!-Z^-~]+\]"
# Path = "<" [ A-d-l ":" ] Mailbox ">"; A-d-l = At-domain *( "," At-domain ).  The route is read and ignored (section 3.3).
_HOST = re.compile(rf"{_DOMAIN}|{_LITERAL}")
_ROUTE = rf"@{_DOMAIN}(?:,@{_DOMAIN})*:"
_MAILBOX = rf"(?P<local>{_DOT_STRING}|{_QUOTED_STRING})@(?P<domain>{_DOMAIN}|{_LITERAL})"
_PATH = re.compile(rf"(?:{_ROUTE})?{_MAILBOX}")
_BRACKETED = re.compile(rf'<(?P<inside>(?:{_QUOTED_STRING}|[^">])*)>(?P<parameters>(?: .*)?)', re.DOTALL)
_IS_DOT_STRING = re.compile(_DOT_STRING)
_QUOTED_PAIR = re.compile(r"\\(.)")
# esmtp-param = esmtp-keyword ["=" esmtp-value]; esmtp-value = 1*(%d33-60 / %d62-126)
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([^\x00- =\x7f]+))?")
# RFC 3030 section 2: bdat-cmd ::= "BDAT" SP chunk-size [ SP end-marker ] CR LF
# chunk-size ::= 1*DIGIT; end-marker ::= "LAST".  A size with leading zeros is legal; the length of a line bounds its digits.
_CHUNK = re.compile(r"(\d+)(?: +(.+))?", re.ASCII)
_SIZE = re.compile(r"\d{1,20}", re.ASCII)  # RFC 1870 section 3: size-value ::= 1*20DIGIT
_MAY_BE_UTF8 = frozenset({"MAIL", "RCPT", "VRFY"})
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class Path(NamedTuple):
    """A mailbox in the envelope: a reverse-path or a forward-path (RFC 5321 section 4.1.2).

    `local` is the local-part without quoting, in the given case; `domain` is as given, and empty for the bare
    `<Postmaster>`.  `given` is the text between the angle brackets.  `address` is the mailbox in its shortest spelling:
    quoted only if necessary, without a route.
    """

    local: str
    domain: str
    given: str
    address: str

    @property
    def is_postmaster(self) -> bool:
        """Whether this is postmaster, in any case, with or without a domain (RFC 5321 section 4.5.1)."""
        return self.local.lower() == "postmaster"

    @classmethod
    def parse(cls, text: str) -> Path:
        """Return the path in `text` (without angle brackets).  Raises UsageError if there is no valid path."""
        if not (match := _PATH.fullmatch(text)):
            if text.lower() == "postmaster":
                return cls(text, "", text, text)
            raise UsageError(f"not an address (RFC 5321 section 4.1.2): {text!r}")
        spelled, domain = match["local"], match["domain"]
        if domain[0] == "[" and not _is_literal(domain[1:-1]):
            raise UsageError(f"not an address literal (RFC 5321 section 4.1.3): {domain!r}")
        local = spelled
        if spelled[0] == '"':
            local = _unquoted(spelled)
            spelled = local if _IS_DOT_STRING.fullmatch(local) else _quoted(local)
        return cls(local, domain, text, f"{spelled}@{domain}")

    def __str__(self) -> str:
        return self.address


def _quoted(local: str) -> str:
    return '"{}"'.format(local.replace("\\", "\\\\").replace('"', '\\"'))


def _unquoted(local: str) -> str:
    return _QUOTED_PAIR.sub(r"\1", local[1:-1])


def _is_literal(text: str) -> bool:
    """Return whether `text` may stand in brackets; of the tags that section 4.1.3 provides for, only IPv6 is registered."""
    try:
        if text[:5].lower() == "ipv6:":
            return ipaddress.IPv6Address(text[5:]).scope_id is None
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


Parameters = Mapping[str, str | None]
NO_PARAMETERS: Parameters = MappingProxyType({})


def check_charset(verb: str, argument: str, *, smtputf8: bool) -> None:
    """Check the characters in the argument of `verb`; `smtputf8` says whether the transaction's MAIL had SMTPUTF8.

    Raises PeerError for octets above 127 that are not allowed, or are not UTF-8 (RFC 6531 sections 3.3 and 3.4).
    """
    if argument.isascii():
        return
    if verb not in _MAY_BE_UTF8:
        raise PeerError(ASCII_ONLY_500)
    if not (smtputf8 if verb == "RCPT" else "SMTPUTF8" in argument.upper().split(" ")):
        raise PeerError(NOT_ASCII_500)
    if any("\udc80" <= character <= "\udcff" for character in argument):
        raise PeerError(NOT_UTF8_500)


def is_host(word: str) -> bool:
    """Return whether `word` can be a host name in ASCII, or an address in brackets (RFC 5321 section 4.1.2)."""
    return word.isascii() and _HOST.fullmatch(word) is not None


def is_hostname(name: str) -> bool:
    """Return whether a server can have this name: one that `is_host` accepts after U-labels have become A-labels.

    RFC 5321 section 4.5.3.1.2 limits it to 255 octets.
    """
    spelled = ascii_name(name)
    return len(spelled) <= MAX_DOMAIN_CHARACTERS and is_host(spelled)


def split_verb(line: str) -> tuple[str, str]:
    """Return the verb of a command line in capitals, and its argument without blanks around it (RFC 5321 sections 2.4, 4.1.1).

    Raises PeerError for a line without a command, and for control characters.
    """
    if not line.isprintable() and _CONTROL.search(line):
        raise PeerError(ILLEGAL_CHARACTER_501)
    verb, _, argument = line.partition(" ")
    if not verb.strip():
        raise PeerError(NO_COMMAND_500)
    verb = verb.rstrip("\t")
    return verb.upper() if verb.isascii() else verb, argument.strip(" \t")  # the capital of U+017F is an S


def expect_no_argument(argument: str) -> None:
    """Check that `argument` is empty.  Raises PeerError if not."""
    if argument:
        raise PeerError(NO_ARGUMENT_501)


def parse_mail(argument: str) -> tuple[Path | None, Parameters]:
    """Return the reverse-path (None for `<>`) and the parameters of MAIL.  Raises PeerError for anything else.

    No blank is allowed next to the colon (RFC 5321 section 3.3).
    """
    inside, parameters = _split_path("FROM:", argument, MAIL_SYNTAX_501)
    path = _path(inside, BAD_SENDER_501) if inside else None
    if path and not path.domain:  # only RCPT allows the bare <Postmaster>
        raise PeerError(BAD_SENDER_501)
    return path, _parse_parameters(parameters)


def parse_rcpt(argument: str) -> tuple[Path, Parameters]:
    """Return the forward-path and the parameters of RCPT.  Raises PeerError for anything else."""
    inside, parameters = _split_path("TO:", argument, RCPT_SYNTAX_501)
    return _path(inside, BAD_RECIPIENT_501), _parse_parameters(parameters)


def parse_bdat(argument: str) -> tuple[int, bool, Reply | None]:
    """Return the chunk's size, whether it is the last, and the reply that rejects an end-marker other than LAST (or None).

    Raises PeerError if no size can be read.
    """
    if not (match := _CHUNK.fullmatch(argument)):
        raise PeerError(BDAT_SYNTAX_501)
    octets, marker = int(match[1]), (match[2] or "").upper()
    return octets, marker == "LAST", None if marker in {"", "LAST"} else BDAT_SYNTAX_501


def parse_size(value: str | None) -> int | None:
    """Return the number of octets in a value of SIZE; None if it is not 1*20DIGIT (RFC 1870 section 3)."""
    return int(value) if value and _SIZE.fullmatch(value) else None


def _split_path(keyword: str, argument: str, refusal: Reply) -> tuple[str, str]:
    head, rest = argument[: len(keyword)], argument[len(keyword) :]
    if head.upper() != keyword or not (match := _BRACKETED.fullmatch(rest)):
        raise PeerError(refusal)
    return match["inside"], match["parameters"]


def _path(inside: str, refusal: Reply) -> Path:
    try:
        return Path.parse(inside)
    except UsageError:
        raise PeerError(refusal) from None


def _parse_parameters(text: str) -> Parameters:
    if not text:
        return NO_PARAMETERS
    parameters: dict[str, str | None] = {}
    for word in filter(None, text.split(" ")):
        match = _PARAMETER.fullmatch(word)
        if not match or match[1].upper() in parameters:
            raise PeerError(PARAMETER_SYNTAX_501)
        parameters[match[1].upper()] = match[2]
    return MappingProxyType(parameters)
