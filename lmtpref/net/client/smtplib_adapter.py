"""The common part of `Client` and `AsyncClient`: a session in smtplib's terms, (code, text) pairs and exceptions."""

from __future__ import annotations

import os
import re
import smtplib
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from lmtpref.protocol.client.session import REPLY_SECONDS, Answered, ClientSession, Done, MailObject, Outcome
from lmtpref.protocol.endpoints import Address, TcpAddress, UnixAddress, parse_address, refuse_smtp_port
from lmtpref.protocol.errors import UsageError
from lmtpref.protocol.replies import Reply

READ_OCTETS = 8_192  # replies are short, and a larger buffer takes longer to allocate
BLOCK_OCTETS = 65_536  # sent at a time
# How long the server may take to read a block (RFC 5321 section 4.5.3.2.5).
BLOCK_SECONDS = 180.0

SmtplibReply = tuple[int, bytes]  # code, and lines joined by LF

_NOT_TO_BE_ASKED = {
    **dict.fromkeys(("MAIL", "RCPT", "DATA", "BDAT"), "send a message with transact() or sendmail()"),
    **dict.fromkeys(("HELO", "EHLO", "LHLO"), "the client sends LHLO itself"),
    "AUTH": "the client does not support it",
}
_OVER = "please run connect() first"
_NEWLINE = re.compile(r"\r\n|\n|\r")


def server_address(host: str, port: int) -> Address:
    """Return the address that `host` and `port` name; the default port is 2003, as for smtplib.LMTP.

    `host` is a name, an address, HOST:PORT, /PATH or unix:PATH.  Raises UsageError for another form, and for port 25.
    """
    if not (isinstance(host, str) and isinstance(port, int)):
        raise UsageError(f"a host and a port number: {host!r}, {port!r}")
    if host.startswith(("unix:", "/")):
        return UnixAddress(os.path.abspath(host.removeprefix("unix:")))  # noqa: PTH100 - text, as the system call takes it
    if not port and (host.count(":") == 1 or host.startswith("[")):
        return parse_address(host)
    refuse_smtp_port(f"{host}:{port}", port)
    return TcpAddress(host or "localhost", port or smtplib.LMTP_PORT)


def require_recipients(recipients: str | Sequence[str]) -> None:
    """Raise SMTPRecipientsRefused, as smtplib does, if there is no recipient."""
    if not recipients:
        raise smtplib.SMTPRecipientsRefused({})


def smtplib_reply(reply: Reply) -> SmtplibReply:
    """Return `reply` as smtplib represents it."""
    return reply.code, b"\n".join(line[4:].strip() for line in reply.octets.splitlines())


class SmtplibAdapter:
    """A ClientSession and its outcomes; the driver moves octets until `answered`, or `sent`, is true."""

    def __init__(self, name: str, report: Callable[[Outcome], object] | None, *, prefer_chunks: bool) -> None:
        self.session = ClientSession(name, prefer_chunks=prefer_chunks)
        # Of the latest message: in the order of the replies, and in the order of its recipients once it is done.
        self.outcomes: list[Outcome] = []
        self.timed_out = False
        self._report = report
        self._problem: str | None = None
        self._answers: deque[Reply] = deque()
        self._done: Done | None = None
        self._sender = ""
        self._recipients: Sequence[str] = ()

    @property
    def problem(self) -> str | None:
        """Why the connection can no longer be used; None while it can."""
        return self._problem or self.session.problem or (_OVER if self.session.closed else None)

    @property
    def features(self) -> dict[str, str]:
        """The server's extensions as smtplib lists them: keywords in lower case, each with its parameters."""
        return {keyword.lower(): " ".join(words) for keyword, words in self.session.extensions.items()}

    def require_starttls(self) -> None:
        """Raise SMTPNotSupportedError if the server does not offer STARTTLS."""
        if "starttls" not in self.features:
            raise smtplib.SMTPNotSupportedError("STARTTLS extension not supported by server.")

    def require_tls_pending(self, reply: SmtplibReply) -> None:
        """Raise SMTPResponseException if `reply` rejects STARTTLS, SMTPServerDisconnected if the connection was lost."""
        if not self.session.tls_pending:
            raise smtplib.SMTPServerDisconnected(self.problem) if self.problem else smtplib.SMTPResponseException(*reply)

    # Requests ---------------------------------------------------------------------------------------------------

    def ask(self, verb: str, argument: str = "") -> None:
        """Queue a command; its reply has come when `answered` is true.

        Raises SMTPNotSupportedError for a command of a transaction or of another protocol, ValueError for text that no
        command line can hold, SMTPServerDisconnected without a connection.
        """
        self._check()
        verb = verb.upper()
        if verb in _NOT_TO_BE_ASKED:
            raise smtplib.SMTPNotSupportedError(f"{verb} is not available; {_NOT_TO_BE_ASKED[verb]}")
        if verb == "QUIT":
            self.session.quit()
        elif verb == "RSET":
            self.session.reset()
        elif verb == "STARTTLS":
            self.session.starttls()
        else:
            self.session.command(verb, argument)

    def send(
        self,
        sender: str,
        recipients: str | Sequence[str],
        content: bytes | str,
        mail_options: Iterable[str],
        rcpt_options: Iterable[str],
    ) -> None:
        """Queue a message; it is done when `sent` is true.  Raises UsageError for an invalid address, or for no recipient."""
        self._check()
        self._sender = sender
        self._recipients = [recipients] if isinstance(recipients, str) else list(recipients)
        if not self._recipients:
            raise UsageError("a message has at least one recipient (RFC 5321 section 3.3)")
        paths = [_path(recipient) for recipient in self._recipients]
        mail = MailObject(_path(sender) or None, paths, _octets(content), _parameters(mail_options), _parameters(rcpt_options))
        self.outcomes, self._done = [], None
        self.session.send(mail)

    def _check(self) -> None:
        if self.problem:
            raise smtplib.SMTPServerDisconnected(self.problem)

    # Replies ----------------------------------------------------------------------------------------------------

    def receive(self, octets: bytes) -> None:
        """Feed received octets to the session; empty octets mean the end of the stream."""
        if octets:
            self.session.feed(octets)
        else:
            self.session.eof()

    def give_up(self, seconds: float | None) -> None:
        """Note that the server did not answer, or did not read, for `seconds`."""
        self.timed_out = True
        self._problem = f"no reply to {self.session.awaited} within {seconds or 0:g} seconds"
        self.session.eof()

    def end(self) -> None:
        """Note that the driver has closed the connection."""
        if not self.session.closed:
            self._problem = self._problem or _OVER
            self.session.eof()

    def answered(self) -> bool:
        """Whether the next reply has come, or never will; by then QUIT has been sent to a server that rejected the session."""
        self._collect_events()
        return self.session.closed or bool(self._answers and not self.session.problem)

    def sent(self) -> bool:
        """Whether each recipient of the message has an outcome; by then QUIT has been sent to a server that cannot be used any more."""
        self._collect_events()
        return self.session.closed or bool(self._done and not self.session.problem)

    def answer(self) -> SmtplibReply:
        """Return the next reply.  Raises SMTPServerDisconnected without one."""
        if not self._answers:
            raise smtplib.SMTPServerDisconnected(self.problem)
        return smtplib_reply(self._answers.popleft())

    def result(self) -> dict[str, SmtplibReply]:
        """Return the recipients that did not get the message, each with its reply.  Raises smtplib's errors if none got it."""
        failed = {
            recipient: smtplib_reply(outcome.reply)
            for recipient, outcome in zip(self._recipients, self.outcomes, strict=True)
            if not outcome.delivered
        }
        if failed and not any(outcome.delivered for outcome in self.outcomes):
            raise self._failure(failed)
        return failed

    def _collect_events(self) -> None:
        for event in self.session.events():
            if isinstance(event, Answered):
                self._answers.append(event.reply)
            elif isinstance(event, Done):
                self._done, self.outcomes = event, list(event.outcomes)
            elif isinstance(event, Outcome):
                self.outcomes.append(event)
                if self._report:
                    self._report(event)

    def _failure(self, failed: dict[str, SmtplibReply]) -> smtplib.SMTPException:
        """Return smtplib's exception for a message that no recipient got."""
        by_stage = {outcome.stage: outcome.reply for outcome in self.outcomes}
        if by_stage.keys() == {"lost"}:
            return smtplib.SMTPServerDisconnected(self.problem)
        if refusal := by_stage.get("client"):
            # The server would have rejected MAIL with it.
            too_big = refusal.code == 552
            if too_big:
                return smtplib.SMTPSenderRefused(*smtplib_reply(refusal), self._sender)
            return smtplib.SMTPNotSupportedError(str(refusal))
        if refusal := by_stage.get("MAIL"):
            return smtplib.SMTPSenderRefused(*smtplib_reply(refusal), self._sender)
        if refusal := by_stage.get("DATA") or by_stage.get("BDAT") or (by_stage.get(".") if len(self.outcomes) == 1 else None):
            return smtplib.SMTPDataError(*smtplib_reply(refusal))
        return smtplib.SMTPRecipientsRefused(failed)


class ClientBase:
    """What `Client` and `AsyncClient` have in common: the options, and the outcomes."""

    _adapter: SmtplibAdapter

    def _set_options(
        self, timeout: float | Literal["rfc5321"] | None, on_outcome: Callable[[Outcome], object] | None, *, prefer_chunks: bool
    ) -> None:
        """Keep the options.  Raises UsageError if `timeout` is not a positive number, None or "rfc5321"."""
        if timeout != "rfc5321" and timeout is not None and not (isinstance(timeout, int | float) and timeout > 0):
            raise UsageError(f'timeout: seconds above 0, None, or "rfc5321": {timeout!r}')
        self.on_outcome = on_outcome
        self._timeout = timeout
        self._prefer_chunks = prefer_chunks

    @property
    def outcomes(self) -> list[Outcome]:
        """The outcomes of the latest message's recipients, in their order; an address may occur twice."""
        return self._adapter.outcomes

    @property
    def problem(self) -> str | None:
        """Why the connection can no longer be used; None while it can."""
        return self._adapter.problem

    @property
    def timed_out(self) -> bool:
        """Whether a reply took too long."""
        return self._adapter.timed_out

    def _seconds(self, standard: float) -> float | None:
        """Return the seconds to wait for what may take `standard` seconds in RFC 5321 section 4.5.3.2."""
        return standard if self._timeout == "rfc5321" else self._timeout

    def _connect_seconds(self) -> float | None:
        return self._seconds(REPLY_SECONDS["connect"])

    def _new_adapter(self, name: str) -> SmtplibAdapter:
        return SmtplibAdapter(name, self._report_outcome, prefer_chunks=self._prefer_chunks)

    def _report_outcome(self, outcome: Outcome) -> None:
        if self.on_outcome:
            self.on_outcome(outcome)


def _path(address: str) -> str:
    """Return the path in an address that is bare, in angle brackets, or after a display name.  Raises UsageError if it is not text."""
    if not isinstance(address, str):
        raise UsageError(f"an address is text: {address!r}")
    text = address.strip()
    return text[text.rfind("<") + 1 : -1] if "<" in text and text.endswith(">") else text


def _octets(content: bytes | str) -> bytes:
    """Return the content to send: line ends in text become CRLF, octets are unchanged.  Raises UsageError for any other type."""
    if not isinstance(content, str | bytes | bytearray | memoryview):
        raise UsageError(f"a message is bytes, or ASCII text: {content!r}")
    return _NEWLINE.sub("\r\n", content).encode("ascii") if isinstance(content, str) else bytes(content)


def _parameters(options: Iterable[str]) -> dict[str, str | None]:
    parts = [option.partition("=") for option in " ".join(options).split()]
    return {name: value if equals else None for name, equals, value in parts}
