"""Command lines as values: each distinct line is parsed once and cached."""

from __future__ import annotations

from functools import lru_cache

from lmtpref.protocol.catalogue import BARE_NEWLINE_500, NOT_ASCII_500
from lmtpref.protocol.extensions import check_mail_parameters
from lmtpref.protocol.peer_error import PeerError
from lmtpref.protocol.replies import Reply
from lmtpref.protocol.states import GROUPED, VERBS, refusal_of
from lmtpref.protocol.syntax import NO_PARAMETERS, Parameters, Path, parse_mail, parse_rcpt, split_verb

MAX_CACHED_LINES = 2048  # each at most MAX_COMMAND_LINE_OCTETS; the same lists and senders recur


class Command:
    """One command line: its verb in capitals, its argument, and for MAIL and RCPT the path and the parameters.

    `path` is None for the null sender; `declared_octets` is what SIZE= says, or 0.
    `mistake` is the reply to a line that is not a valid command.  `wrong_argument` is the reply to an argument with a syntax error; it is
    sent only if the state allows the command.
    `is_plain` says that the line is ASCII.  `grouped` says that the reply may be sent together with those that follow.
    """

    __slots__ = (
        "argument",
        "declared_octets",
        "grouped",
        "is_plain",
        "mistake",
        "parameters",
        "path",
        "verb",
        "wrong_argument",
    )

    def __init__(self, line: str) -> None:
        self.verb = self.argument = ""
        self.mistake: Reply | None = None
        self.wrong_argument: Reply | None = None
        self.path: Path | None = None
        self.parameters: Parameters = NO_PARAMETERS
        self.declared_octets = 0
        self.is_plain = line.isascii()
        self.grouped = False
        try:
            self._read(line)
        except PeerError as error:
            self.mistake = error.reply

    def _read(self, line: str) -> None:
        if "\n" in line or "\r" in line:
            raise PeerError(BARE_NEWLINE_500)
        self.verb, self.argument = split_verb(line)
        self.grouped = self.verb in GROUPED
        if self.verb not in VERBS:
            raise PeerError(refusal_of(self.verb))
        try:
            if self.verb == "MAIL":
                self._read_mail()
            elif self.verb == "RCPT":
                self.path, self.parameters = parse_rcpt(self.argument)
        except PeerError as error:
            self.wrong_argument = error.reply

    def _read_mail(self) -> None:
        self.path, self.parameters = parse_mail(self.argument)
        check_mail_parameters(self.parameters)
        if not self.is_plain and "SMTPUTF8" not in self.parameters:
            raise PeerError(NOT_ASCII_500)
        self.declared_octets = int(self.parameters.get("SIZE") or 0)


@lru_cache(maxsize=MAX_CACHED_LINES)
def read_command(line: bytes) -> Command:
    """Return the command in `line` (without its CRLF); octets that are not UTF-8 become surrogates."""
    return Command(line.decode("utf-8", "surrogateescape"))
