"""What `Client` and `AsyncClient` share: a session in the terms of smtplib, which are pairs of code and text, and its exceptions."""

from __future__ import annotations

import re
import smtplib
import socket
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from lmtpref.protocol.client.session import Answered, ClientSession, Done, MailObject, Outcome
from lmtpref.protocol.replies import Reply

READ_OCTETS = 65_536
BLOCK_OCTETS = 65_536  # what is sent at one go
BLOCK_SECONDS = 180.0  # each of them may take (RFC 5321 section 4.5.3.2.5)

SmtplibReply = tuple[int, bytes]  # a reply as smtplib has it; lines are joined by LF

_NOT_TO_BE_ASKED = {
    **dict.fromkeys(("MAIL", "RCPT", "DATA", "BDAT"), "a transaction is one sendmail()"),
    **dict.fromkeys(("HELO", "EHLO", "LHLO"), "LHLO was said, and says who we are"),
    "AUTH": "its challenges are not answered here",
}
_OVER = "please run connect() first"
_NEWLINE = re.compile(r"\r\n|\n|\r")


def own_name() -> str:
    """Return what this host calls itself in LHLO: its full name, or its address in brackets (RFC 5321 section 4.1.4)."""
    name = socket.getfqdn()
    if "." in name:
        return name
    try:
        return f"[{socket.gethostbyname(socket.gethostname())}]"
    except OSError:
        return "[127.0.0.1]"


def smtplib_reply(reply: Reply) -> SmtplibReply:
    """`reply` as smtplib has it."""
    return reply.code, b"\n".join(line[4:].strip() for line in reply.octets.splitlines())


class SmtplibAdapter:
    """A ClientSession, and who asked what of it; the driver carries octets until `answered`, or `sent`, says that it is enough."""

    def __init__(self, name: str, report: Callable[[Outcome], object] | None, *, prefer_chunks: bool) -> None:
        self.session = ClientSession(name, prefer_chunks=prefer_chunks)
        self.outcomes: list[Outcome] = []  # of the latest message, as they came; when it is done, in the order of its recipients
        self.timed_out = False
        self._report = report
        self._problem: str | None = None
        self._answers: deque[Reply] = deque()
        self._done: Done | None = None
        self._sender = ""
        self._recipients: Sequence[str] = ()

    @property
    def problem(self) -> str | None:
        """Why the connection is of no use any more; None while it is."""
        return self._problem or self.session.problem or (_OVER if self.session.closed else None)

    @property
    def features(self) -> dict[str, str]:
        """The server's extensions as smtplib has them: keywords in small letters, and what stands behind each."""
        return {keyword.lower(): " ".join(words) for keyword, words in self.session.extensions.items()}

    # What is asked ----------------------------------------------------------------------------------------------

    def ask(self, verb: str, argument: str = "") -> None:
        """Say a command, to be `answered`.

        Raises SMTPNotSupportedError for one that belongs to a transaction or to another protocol, ValueError for what no
        command line can hold, SMTPServerDisconnected where nobody listens.
        """
        self._check()
        verb = verb.upper()
        if verb in _NOT_TO_BE_ASKED:
            raise smtplib.SMTPNotSupportedError(f"{verb} is not for the caller to say; {_NOT_TO_BE_ASKED[verb]}")
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
        """Send a message, until it is `sent`.  Raises ValueError for an address that no command line can hold."""
        self._check()
        self._sender = sender
        self._recipients = [recipients] if isinstance(recipients, str) else list(recipients)
        if not self._recipients:
            raise smtplib.SMTPRecipientsRefused({})
        paths = [_path(recipient) for recipient in self._recipients]
        mail = MailObject(_path(sender) or None, paths, _octets(content), _parameters(mail_options), _parameters(rcpt_options))
        self.outcomes, self._done = [], None
        self.session.send(mail)

    def _check(self) -> None:
        if self.problem:
            raise smtplib.SMTPServerDisconnected(self.problem)

    # What is heard ----------------------------------------------------------------------------------------------

    def receive(self, octets: bytes) -> None:
        """Take what came; nothing is the end."""
        if octets:
            self.session.feed(octets)
        else:
            self.session.eof()

    def give_up(self, seconds: float | None) -> None:
        """Give up: the server did not answer, or did not read, for `seconds`."""
        self.timed_out = True
        self._problem = f"no reply to {self.session.awaited} within {seconds or 0:g} seconds"
        self.session.eof()

    def end(self) -> None:
        """Note that the driver has closed the connection."""
        if not self.session.closed:
            self._problem = self._problem or _OVER
            self.session.eof()

    def answered(self) -> bool:
        """Whether the next answer has come, or will not; a server that will not have us has been told QUIT then."""
        self._collect_events()
        return self.session.closed or bool(self._answers and not self.session.problem)

    def sent(self) -> bool:
        """Whether each recipient of the message has an outcome; a server of no more use has been told QUIT then."""
        self._collect_events()
        return self.session.closed or bool(self._done and not self.session.problem)

    def answer(self) -> SmtplibReply:
        """Return the next answer.  Raises SMTPServerDisconnected if there is none."""
        if not self._answers:
            raise smtplib.SMTPServerDisconnected(self.problem)
        return smtplib_reply(self._answers.popleft())

    def result(self) -> dict[str, SmtplibReply]:
        """Recipients that did not get the message, each with its reply.  Raises what smtplib does if nobody got it."""
        failed = {
            recipient: smtplib_reply(outcome.reply)
            for recipient, outcome in zip(self._recipients, self.outcomes, strict=True)
            if not outcome.delivered
        }
        if not any(outcome.delivered for outcome in self.outcomes):
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
        """Return what smtplib calls it when nobody got the message."""
        by_stage = {outcome.stage: outcome.reply for outcome in self.outcomes}
        if by_stage.keys() == {"lost"}:
            return smtplib.SMTPServerDisconnected(self.problem)
        if refusal := by_stage.get("client"):
            too_big = refusal.code == 552  # what the server would have said to MAIL
            if too_big:
                return smtplib.SMTPSenderRefused(*smtplib_reply(refusal), self._sender)
            return smtplib.SMTPNotSupportedError(str(refusal))
        if refusal := by_stage.get("MAIL"):
            return smtplib.SMTPSenderRefused(*smtplib_reply(refusal), self._sender)
        if refusal := by_stage.get("DATA") or by_stage.get("BDAT") or (by_stage.get(".") if len(self.outcomes) == 1 else None):
            return smtplib.SMTPDataError(*smtplib_reply(refusal))
        return smtplib.SMTPRecipientsRefused(failed)


class ClientBase:
    """What a client tells of its dialogue."""

    on_outcome: Callable[[Outcome], object] | None
    _prefer_chunks: bool
    _adapter: SmtplibAdapter

    @property
    def outcomes(self) -> list[Outcome]:
        """What became of the latest message's recipients, in their order; the same address may be there twice."""
        return self._adapter.outcomes

    @property
    def problem(self) -> str | None:
        """Why the connection is of no use any more; None while it is."""
        return self._adapter.problem

    @property
    def timed_out(self) -> bool:
        """Whether a reply took too long."""
        return self._adapter.timed_out

    def _new_adapter(self, name: str) -> SmtplibAdapter:
        return SmtplibAdapter(name, self._report_outcome, prefer_chunks=self._prefer_chunks)

    def _report_outcome(self, outcome: Outcome) -> None:
        if self.on_outcome:
            self.on_outcome(outcome)


def _path(address: str) -> str:
    """Return the path in an address that is bare, in angle brackets, or behind a name."""
    text = address.strip()
    return text[text.rfind("<") + 1 : -1] if text.endswith(">") else text


def _octets(content: bytes | str) -> bytes:
    """Return the content to send: text gets the line ends of mail, octets are sent as they are."""
    return _NEWLINE.sub("\r\n", content).encode("ascii") if isinstance(content, str) else bytes(content)


def _parameters(options: Iterable[str]) -> dict[str, str | None]:
    parts = (option.partition("=") for option in " ".join(options).split())
    return {name: value if equals else None for name, equals, value in parts}
