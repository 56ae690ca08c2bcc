"""The client's half of an LMTP conversation: mail in, commands out; replies in, outcomes out.

No socket, no clock, no waiting.  Call the methods at any time; the session does the work in order::

    client = ClientSession("mta.example")
    client.send(MailObject("anne@home.test", ["ant@lists.example"], content))
    client.quit()
    while not client.closed:
        send(client.take())
        client.feed(receive())          # or client.eof()
        for event in client.events():
            ...

The conversation is a generator, which yields the verb that awaits a reply and then receives that reply.
So only the order pairs replies with commands (RFC 2920 section 3.1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache, partial

from lmtpref.protocol.catalogue import SHUTTING_DOWN_421
from lmtpref.protocol.client.conversation import IDLE, TLS, Answered, ClientConversation, ClientEvent, Closed, Talk
from lmtpref.protocol.client.delivery import ClientDelivery, Done, Outcome
from lmtpref.protocol.client.message import Extensions, MailObject
from lmtpref.protocol.client.reply_reader import ReplyReader
from lmtpref.protocol.errors import ReplyError, UsageError
from lmtpref.protocol.replies import Reply

__all__ = ["Answered", "ClientEvent", "ClientSession", "Closed", "Done", "MailObject", "Outcome"]

MAX_REPLY_OCTETS = 512  # of a line in the cache (RFC 5321 section 4.5.3.1.5)
CHUNK_OCTETS = 1_048_576  # of one BDAT; the next BDAT waits for its reply

# The seconds that each reply may take (RFC 5321 section 4.5.3.2); 600 for every final reply (RFC 1047, RFC 2033 section 5).
REPLY_SECONDS = {"connect": 300, "MAIL": 300, "RCPT": 300, "DATA": 120, "BDAT": 180, ".": 600}
USUAL_REPLY_SECONDS = 300

_LEGAL = {"DATA": (3, 4, 5)}  # the first digits of a reply; _USUALLY_LEGAL for other commands
_USUALLY_LEGAL = (2, 4, 5)
_OURS = frozenset({"HELO", "EHLO", "LHLO", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "STARTTLS", "QUIT", "AUTH"})


class ClientSession:
    """The client's half of one conversation, in which any number of messages may be sent.

    `name` is LHLO's argument.  With `prefer_chunks` BDAT is used whenever it is offered; else only if DATA cannot carry the content.
    When `closed`, the conversation is over: send what `take` still returns, then close.
    """

    def __init__(self, name: str, *, prefer_chunks: bool = False, chunk_octets: int = CHUNK_OCTETS) -> None:
        if not name or " " in name:
            raise UsageError(f"a host name, or an address in brackets (RFC 5321 section 4.1.1.1): {name!r}")
        self.closed = False
        self.reply_count = 0  # how many whole replies the session has taken
        self._quit_queued = False  # whether `quit` was called
        self._conversation = ClientConversation(_line("LHLO", name), prefer_chunks=prefer_chunks, chunk_octets=chunk_octets)
        self._reader = ReplyReader()
        self._talk = self._conversation.talk()
        self._awaited = next(self._talk)

    @property
    def extensions(self) -> Extensions:
        """The server's latest offer: keywords in capitals, each with its parameters."""
        return self._conversation.extensions

    @property
    def problem(self) -> str | None:
        """Why the connection can no longer be used; None if no problem is known."""
        return self._conversation.problem

    # The caller's side ------------------------------------------------------------------------------------------

    def send(self, mail: MailObject) -> None:
        """Queue `mail`; each recipient gets an Outcome as soon as it is known, and a Done follows."""
        delivery = ClientDelivery(mail, self._conversation.events.append)
        self._queue(partial(self._conversation.deliver, delivery))
        self._conversation.deliveries.append(delivery)
        self._wake()

    def command(self, verb: str, argument: str = "") -> None:
        """Queue NOOP, VRFY, HELP or the like; Answered reports the reply.  Raises UsageError for commands that the session itself sends."""
        if verb.upper() in _OURS:
            raise UsageError(f"{verb} has a method of its own, or is not part of LMTP")
        self._queue(partial(self._conversation.perform, verb.upper(), _line(verb, argument)))
        self._wake()

    def reset(self) -> None:
        """Queue RSET; Answered reports the reply.  A server that rejects RSET is not used any more."""
        self._queue(self._conversation.reset)
        self._wake()

    def starttls(self) -> None:
        """Queue STARTTLS; Answered reports the reply.

        Raises UsageError if it is not offered (RFC 3207 section 4), or if TLS has begun already (section 4.2).
        """
        if self._conversation.secure:
            raise UsageError("TLS has begun already (RFC 3207 section 4.2)")
        if "STARTTLS" not in self.extensions:
            raise UsageError("the server does not offer STARTTLS")
        self._queue(self._conversation.starttls)
        self._wake()

    def quit(self) -> None:
        """Queue QUIT; Answered reports the reply, and the conversation closes (RFC 5321 section 4.1.1.10)."""
        self._queue(self._conversation.leave)
        self._quit_queued = True
        self._wake()

    # The driver's side ------------------------------------------------------------------------------------------

    def feed(self, octets: bytes) -> None:
        """Process octets from the server.  After `closed` they are dropped."""
        if self.closed or not octets:
            return
        self._reader.feed(octets)
        try:
            while not self.closed and (lines := self._reader.next()) is not None:
                self._take_reply(lines)
            self._check_clear()
        except ReplyError as problem:
            self._conversation.out.clear()  # written before the error was known
            self._end(str(problem))

    def eof(self) -> None:
        """End the conversation: the connection is gone, or the driver timed out.  Unanswered recipients are lost."""
        self._end(None if self._awaited == "QUIT" else "the server closed the connection")

    def take(self) -> bytes:
        """Return the octets to send now.  A group of commands is small enough to be sent without reading (RFC 2920 section 3.1)."""
        octets = b"".join(self._conversation.out)
        self._conversation.out.clear()
        return octets

    def events(self) -> Iterator[ClientEvent]:
        """Yield the events since the last call."""
        while self._conversation.events:
            yield self._conversation.events.popleft()

    @property
    def awaited(self) -> str:
        """The verb that the next reply answers, `connect` or `.`; `TLS` while `tls_pending`, `nothing` if no reply is due."""
        return self._awaited

    @property
    def reply_timeout(self) -> float:
        """The seconds that the next reply may take before the driver calls `eof` (RFC 5321 section 4.5.3.2)."""
        return REPLY_SECONDS.get(self._awaited, USUAL_REPLY_SECONDS)

    @property
    def tls_pending(self) -> bool:
        """Whether the driver should begin the TLS handshake; call `tls_started` if it succeeds, `eof` if it fails."""
        return self._awaited == TLS

    def tls_started(self) -> None:
        """Continue after the TLS handshake.  Raises UsageError if STARTTLS was not accepted."""
        if not self.tls_pending:
            raise UsageError("the server has not accepted STARTTLS")
        self._advance(next, self._talk)

    # Replies ----------------------------------------------------------------------------------------------------

    def _take_reply(self, lines: tuple[bytes, ...]) -> None:
        """Process one reply: it answers the awaited command, whatever its code and text (RFC 2920 section 3.1)."""
        self.reply_count += 1
        try:
            reply = _short_reply(*lines) if len(lines) == 1 and len(lines[0]) <= MAX_REPLY_OCTETS else _reply(*lines)
        except UsageError as problem:
            raise ReplyError(str(problem)) from None
        if reply.code == SHUTTING_DOWN_421.code:
            self._conversation.shutdown_reply = reply
        # No reply is due, or the command was not sent yet.
        if self._awaited in {IDLE, TLS} or self._conversation.out:
            self._conversation.raise_if_shutting_down()
            raise ReplyError(f"a reply to no command: {reply}")
        if reply.code // 100 not in _LEGAL.get(self._awaited, _USUALLY_LEGAL):
            raise ReplyError(f"no reply to {self._awaited}: {reply}")
        self._advance(self._talk.send, reply)

    def _check_clear(self) -> None:
        """Raise ReplyError if plaintext follows the reply to STARTTLS."""
        if self.tls_pending and self._reader.unfinished:
            raise ReplyError("the server sent plaintext after it had accepted STARTTLS (RFC 3207 section 4.2)")

    # Helpers ----------------------------------------------------------------------------------------------------

    def _queue(self, job: Callable[[], Talk[bool]]) -> None:
        if self.closed or self.problem or self._quit_queued:
            raise UsageError(f"the conversation is over: {self.problem or 'QUIT was sent'}")
        self._conversation.jobs.append(job)

    def _wake(self) -> None:
        if self._awaited == IDLE:
            self._advance(next, self._talk)

    def _advance(self, step: Callable[..., str], *arguments: object) -> None:
        try:
            self._awaited = step(*arguments)
        except ReplyError as problem:
            self._end(str(problem))
        except StopIteration:
            self._end(None)

    def _end(self, problem: str | None) -> None:
        if not self.closed:
            self.closed = True
            self._awaited = IDLE
            self._conversation.end(problem)


def _reply(*lines: bytes) -> Reply:
    return Reply.parse([line.decode("utf-8", "backslashreplace") for line in lines])


# A server repeats the same few replies.
_short_reply = lru_cache(maxsize=256)(_reply)


def _line(verb: str, argument: str) -> bytes:
    """Return a command line.  Raises UsageError for characters that it cannot hold (RFC 5321 section 4.1.1)."""
    line = f"{verb} {argument}".rstrip(" ")
    if not verb or not (line.isascii() and line.isprintable()):
        raise UsageError(f"a command line is printable ASCII: {line!r}")
    return f"{line}\r\n".encode()
