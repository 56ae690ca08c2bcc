"""An outgoing message: the extensions that it needs, the arguments of MAIL and RCPT, and the octets that carry it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from lmtpref.protocol.errors import UsageError
from lmtpref.protocol.framing import first_bare_newline
from lmtpref.protocol.peer_error import PeerError
from lmtpref.protocol.replies import Reply
from lmtpref.protocol.syntax import Parameters, Path, parse_mail, parse_rcpt, parse_size

Extensions = Mapping[str, tuple[str, ...]]  # from LHLO's reply: keywords in capitals, each with its parameters

_END_OF_HEADER = b"\r\n\r\n"
_TOO_BIG_552 = Reply(552, "5.3.4", "The message is over the size that the server offers to take")


@dataclass(frozen=True, slots=True)
class MailObject:
    """A message to send, as the caller describes it.

    `reverse_path` is None for the null sender; `forward_paths` are sent in this order, repeated ones too.
    `content` is sent octet for octet; `parameters` go with MAIL and `rcpt_parameters` with every RCPT.
    SIZE, BODY and SMTPUTF8 are added as needed.  Raises UsageError for text that no command line can hold.
    """

    reverse_path: str | None
    forward_paths: Sequence[str]
    content: bytes
    parameters: Parameters = field(default_factory=dict)
    rcpt_parameters: Parameters = field(default_factory=dict)
    # Whether the content is not text: a bare CR or LF, or a NUL; or the caller set BODY=BINARYMIME (RFC 3030 section 3).
    binary: bool = field(init=False, repr=False, compare=False)
    # Whether the content is ASCII text, and each address is ASCII, so that every server can take the message.
    plain: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.forward_paths, str) or not self.forward_paths:
            raise UsageError(f"a message has one recipient or more, in a list: {self.forward_paths!r}")
        if self.reverse_path is not None and not Path.parse(self.reverse_path).domain:
            raise UsageError(f"a sender has a domain: {self.reverse_path!r}")
        for path in self.forward_paths:
            Path.parse(path)
        if self.parameters or self.rcpt_parameters:
            self._check_parameters()
        object.__setattr__(self, "binary", self._is_binary())
        object.__setattr__(self, "plain", not (self.binary or self.eight_bit or self.utf8_addresses))

    def _check_parameters(self) -> None:
        try:
            parse_mail(f"FROM:<>{_spelt(self.parameters)}")
            parse_rcpt(f"TO:<postmaster>{_spelt(self.rcpt_parameters)}")
        except PeerError as problem:
            raise UsageError(f"not parameters (RFC 5321 section 4.1.2): {self.parameters} {self.rcpt_parameters}") from problem

    def _is_binary(self) -> bool:
        if first_bare_newline(self.content) is not None or b"\0" in self.content:
            return True
        return ("BODY", "BINARYMIME") in [(name.upper(), (value or "").upper()) for name, value in self.parameters.items()]

    @property
    def octets(self) -> int:
        """The message's size as SIZE counts it: with the CRLF that DATA adds to a content without one (RFC 1870 section 5)."""
        ends = not self.content or self.content.endswith(b"\r\n") or self.binary
        return len(self.content) + (0 if ends else 2)

    @property
    def eight_bit(self) -> bool:
        """Whether the content has octets above 127 (RFC 6152 section 3)."""
        return not self.content.isascii()

    @property
    def utf8_addresses(self) -> bool:
        """Whether an address of the envelope is not ASCII (RFC 6531 section 3.4)."""
        return not "".join([self.reverse_path or "", *self.forward_paths]).isascii()

    @property
    def utf8_header(self) -> bool:
        """Whether the header section has octets above 127 (RFC 6531 section 3.4)."""
        return self.eight_bit and not self.content.partition(_END_OF_HEADER)[0].isascii()


class ClientCommand(NamedTuple):
    """A command line."""

    verb: str
    octets: bytes


class _Need(NamedTuple):
    """A kind of mail, the extension that it needs, and the verdict if the server lacks it."""

    keyword: str
    of: Callable[[MailObject], bool]
    refusal: Reply


_NEEDS = (
    _Need("SMTPUTF8", lambda mail: mail.utf8_addresses, Reply(553, "5.6.7", "An address is not ASCII, and the server lacks SMTPUTF8")),
    _Need("SMTPUTF8", lambda mail: mail.utf8_header, Reply(554, "5.6.9", "The header is not ASCII, and the server lacks SMTPUTF8")),
    _Need("BINARYMIME", lambda mail: mail.binary, Reply(554, "5.6.3", "The content is not text, and the server lacks BINARYMIME")),
    _Need("CHUNKING", lambda mail: mail.binary, Reply(554, "5.6.3", "The content is not text, and the server lacks CHUNKING")),
    _Need(
        "8BITMIME",
        lambda mail: mail.eight_bit and not mail.binary,
        Reply(554, "5.6.3", "The content is not ASCII, and the server lacks 8BITMIME"),
    ),
)

# The extension that defines a parameter, if it has another name.
_DEFINED_BY = {"BODY": "8BITMIME"} | dict.fromkeys(("RET", "ENVID", "NOTIFY", "ORCPT"), "DSN")


def refusal_of(mail: MailObject, offered: Extensions) -> Reply | None:
    """Return why `mail` cannot be sent to a server with these extensions; None if it can.

    Nothing is converted or omitted; that is the caller's task (RFC 6152 section 3, RFC 3030 section 3).
    """
    for name in (*mail.parameters, *mail.rcpt_parameters):
        keyword = _DEFINED_BY.get(name.upper(), name.upper())
        if keyword not in offered:
            return Reply(555, "5.5.4", f"{name} was requested, and the server lacks {keyword}")
    missing = () if mail.plain else [need for need in _NEEDS if need.keyword not in offered and need.of(mail)]
    if missing:
        return missing[0].refusal
    limit = parse_size(next(iter(offered.get("SIZE", ())), None)) or inf  # 0 is no limit (RFC 1870 section 4)
    if mail.octets > limit:
        return _TOO_BIG_552
    return None


def envelope_of(mail: MailObject, offered: Extensions, positions: range) -> Iterator[ClientCommand]:
    """Return MAIL and a RCPT for each recipient at `positions`, with the parameters that the server must get."""
    parameters = _declared(mail, offered) | {name.upper(): value for name, value in mail.parameters.items()}
    yield ClientCommand("MAIL", f"MAIL FROM:<{mail.reverse_path or ''}>{_spelt(parameters)}\r\n".encode())
    rcpt_parameters = _spelt(mail.rcpt_parameters)
    for position in positions:
        yield ClientCommand("RCPT", f"RCPT TO:<{mail.forward_paths[position]}>{rcpt_parameters}\r\n".encode())


def stuffed(content: bytes) -> bytes:
    """Return `content` as DATA sends it: leading dots doubled, and the final dot added (RFC 5321 section 4.5.2).

    A CRLF is added before the final dot only if the content does not end in one (section 4.1.1.4).
    """
    dot = b"." if content.startswith(b".") else b""
    last = b"" if content.endswith(b"\r\n") or not content else b"\r\n"
    return b"".join((dot, content.replace(b"\r\n.", b"\r\n.."), last, b".\r\n"))


def chunked(content: bytes, octets: int) -> Iterator[tuple[bytes, bool]]:
    """Yield BDAT commands that send `content` in chunks of at most `octets`, and whether each is the last (RFC 3030 section 2)."""
    for start in range(0, len(content) or 1, octets):
        chunk = content[start : start + octets]
        last = start + octets >= len(content)
        yield b"BDAT %d%s\r\n%s" % (len(chunk), b" LAST" if last else b"", chunk), last


def _declared(mail: MailObject, offered: Extensions) -> dict[str, str | None]:
    """Return the parameters of MAIL that describe the content, for a server that supports them."""
    parameters: dict[str, str | None] = {}
    if "SIZE" in offered:
        parameters["SIZE"] = str(mail.octets)
    if mail.plain:
        return parameters
    if mail.binary:
        parameters["BODY"] = "BINARYMIME"
    elif mail.eight_bit:
        parameters["BODY"] = "8BITMIME"
    if mail.utf8_addresses or mail.utf8_header:
        parameters["SMTPUTF8"] = None
    return parameters


def _spelt(parameters: Parameters) -> str:
    return "".join([f" {name}" if value is None else f" {name}={value}" for name, value in parameters.items()])
