"""The client's half of an LMTP conversation: mail in, commands out; replies in, outcomes out.

No socket, no clock, no waiting.  Ask for what you want at any time; it is done in turn::

    client = ClientSession("mta.example")
    client.send(Mail("anne@home.test", ["ant@lists.example"], content))
    client.quit()
    while not client.closed:
        send(client.take())
        client.feed(receive())          # or client.eof()
        for event in client.events():
            ...

The conversation is one generator: it yields what it awaits a reply to, and is sent that reply.  So the order of its lines
is the only thing that pairs replies with commands (RFC 2920 section 3.1).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import NamedTuple, TypeVar

from lmtpref.protocol.catalogue import SHUTTING_DOWN_421
from lmtpref.protocol.client_delivery import LOST_451, Delivery, Done, Outcome, Stage, groups
from lmtpref.protocol.client_mail import Command, Extensions, Mail, chunked, envelope_of, refusal_of, stuffed
from lmtpref.protocol.errors import ReplyError, UsageError
from lmtpref.protocol.reader import ReplyReader
from lmtpref.protocol.replies import Reply

CHUNK_OCTETS = 1_048_576  # of one BDAT; the next one waits for its reply

# Seconds that each reply may take (RFC 5321 section 4.5.3.2); 600 for each final reply (RFC 1047, RFC 2033 section 5).
PATIENCE_SECONDS = {"connect": 300, "MAIL": 300, "RCPT": 300, "DATA": 120, "BDAT": 180, ".": 600}
_USUAL_PATIENCE_SECONDS = 300

_IDLE, _TLS = "nothing", "TLS"  # awaited when no reply is: a job, and the handshake
_LEGAL = {"DATA": (3, 4, 5)}  # first digits of a reply, where not these:
_USUALLY_LEGAL = (2, 4, 5)
_OURS = frozenset({"HELO", "EHLO", "LHLO", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "STARTTLS", "QUIT", "AUTH"})

T = TypeVar("T")
Talk = Generator[str, Reply, T]


class Answered(NamedTuple):
    """A command outside transactions was answered; `connect` is the greeting."""

    verb: str
    reply: Reply

    def __str__(self) -> str:
        return f"{self.verb}: {self.reply}"


class Closed(NamedTuple):
    """The conversation is over; `problem` says why, unless the caller wanted it."""

    problem: str | None

    def __str__(self) -> str:
        return f"closed: {self.problem}" if self.problem else "closed"


Event = Answered | Outcome | Done | Closed


class ClientSession:
    """The client's half of one conversation, in which any number of messages may be sent.

    `extensions` are the server's latest offer; `closed` says that the conversation is over: send what `take` still
    returns, then close; `problem` why the connection is of no use, as far as it is known.
    With `prefer_chunks` BDAT is used wherever it is offered; else only where DATA will not do.
    """

    def __init__(self, name: str, *, prefer_chunks: bool = False, chunk_octets: int = CHUNK_OCTETS) -> None:
        if " " in name:
            raise UsageError(f"a host name, or an address in brackets (RFC 5321 section 4.1.1.1): {name!r}")
        self.extensions: Extensions = {}
        self.closed = False
        self.problem: str | None = None
        self._lhlo = _line("LHLO", name)
        self._prefer_chunks, self._chunk_octets = prefer_chunks, chunk_octets
        self._reader = ReplyReader()
        self._out: list[bytes] = []
        self._events: deque[Event] = deque()
        self._jobs: deque[Callable[[], Talk[bool]]] = deque()
        self._deliveries: deque[Delivery] = deque()  # those not done, the present one first
        self._leaving: Reply | None = None  # the server's 421
        self._talk = self._conversation()
        self._awaited = next(self._talk)

    # The caller's side ------------------------------------------------------------------------------------------

    def send(self, mail: Mail) -> None:
        """Send `mail`; each recipient gets an Outcome, then there is a Done."""
        self._queue(partial(self._deliver, delivery := Delivery(mail, self._events.append)), delivery)

    def command(self, verb: str, argument: str = "") -> None:
        """Send NOOP, VRFY, HELP or the like, to be Answered.  Raises UsageError for a command that the session itself sends."""
        if verb.upper() in _OURS:
            raise UsageError(f"{verb} has a method of its own, or no place in LMTP")
        self._queue(partial(self._perform, verb.upper(), _line(verb, argument)))

    def reset(self) -> None:
        """Send RSET, to be Answered; a server that refuses it is not used any more."""
        self._queue(self._reset)

    def starttls(self) -> None:
        """Send STARTTLS, to be Answered.  Raises UsageError where it is not offered (RFC 3207 section 4)."""
        if "STARTTLS" not in self.extensions:
            raise UsageError("the server does not offer STARTTLS")
        self._queue(self._starttls)

    def quit(self) -> None:
        """Send QUIT, wait for its reply, and close (RFC 5321 section 4.1.1.10)."""
        self._queue(self._quit)

    # The driver's side ------------------------------------------------------------------------------------------

    def feed(self, octets: bytes) -> None:
        """Take what the server sent.  After `closed` it is dropped."""
        if self.closed or not octets:
            return
        self._reader.feed(octets)
        try:
            while not self.closed and (lines := self._reader.next()) is not None:
                self._hear(lines)
            if self.securing and self._reader.unfinished:
                raise ReplyError("the server sent more in the clear after it had agreed to TLS (RFC 3207 section 4.2)")
        except ReplyError as problem:
            self._end(str(problem))

    def eof(self) -> None:
        """The connection is gone: what was not answered is not known."""
        self._end(None if self._awaited == "QUIT" else "the server closed the connection")

    def take(self) -> bytes:
        """The octets to send now, in one write; a group is small enough to send it without reading (RFC 2920 section 3.1)."""
        octets = b"".join(self._out)
        self._out.clear()
        return octets

    def events(self) -> Iterator[Event]:
        """What has happened since this was last asked."""
        while self._events:
            yield self._events.popleft()

    @property
    def awaited(self) -> str:
        """What the next reply is to: a verb, `connect`, `.`; `TLS` while `securing`, `nothing` where none is due."""
        return self._awaited

    @property
    def patience(self) -> float:
        """How many seconds the next reply may take before the driver gives up and calls `eof` (RFC 5321 section 4.5.3.2)."""
        return PATIENCE_SECONDS.get(self._awaited, _USUAL_PATIENCE_SECONDS)

    @property
    def securing(self) -> bool:
        """Whether the driver should begin TLS now; call `secured` when that has succeeded, `eof` when not."""
        return self._awaited == _TLS

    def secured(self) -> None:
        """TLS has begun: LHLO is said again, and what was offered in the clear is forgotten (RFC 3207 section 4.2)."""
        if not self.securing:
            raise UsageError("STARTTLS was not agreed on")
        self._advance(partial(next, self._talk))

    # The conversation -------------------------------------------------------------------------------------------

    def _conversation(self) -> Talk[None]:
        greeting = yield "connect"
        self._events.append(Answered("connect", greeting))
        usable = greeting.positive and (yield from self._introduce())
        if not greeting.positive:
            self._give_up("connect", greeting)
        while usable:
            while not self._jobs:
                self._stay()
                yield _IDLE
            usable = yield from self._jobs.popleft()()
        self._write(b"QUIT\r\n")
        self._events.append(Answered("QUIT", (yield "QUIT")))

    def _introduce(self) -> Talk[bool]:
        """Say LHLO; whether the server likes it.  Nothing else is tried (RFC 2033 section 4.1)."""
        self.extensions = {}
        reply = yield from self._ask("LHLO", self._lhlo)
        if not reply.positive:
            self._give_up("LHLO", reply)
        offers = (line.upper().split() for line in reply.lines[1:])
        self.extensions = {keyword: tuple(words) for keyword, *words in filter(None, offers)}
        return reply.positive

    def _deliver(self, delivery: Delivery) -> Talk[bool]:
        usable = True
        if refusal := refusal_of(delivery.mail, self.extensions):
            delivery.settle_all(refusal, "client")
        elif not (yield from self._transact(delivery)):
            self._write(b"RSET\r\n")
            usable = self._is_reset((yield "RSET"))
        self._finish(delivery)
        return usable

    def _transact(self, delivery: Delivery) -> Talk[bool]:
        """Whether the server has ended the transaction too; if not, RSET has to."""
        mail = delivery.mail
        in_chunks = mail.binary or (self._prefer_chunks and "CHUNKING" in self.extensions)
        yield from self._envelope(delivery, data=not in_chunks)
        if delivery.go_ahead:
            self._check_go_ahead(delivery)
            self._write(stuffed(mail.content))
        elif not in_chunks or not delivery.hopeful or not (yield from self._chunks(delivery)):
            return False
        replies = []
        for position in delivery.accepted:
            replies.append((yield "."))
            delivery.settle(position, replies[-1], ".")
        return not in_chunks or all(reply.positive for reply in replies)

    def _envelope(self, delivery: Delivery, *, data: bool) -> Talk[None]:
        """Send MAIL, each RCPT and DATA, as far as there is hope."""
        delivery.size_declared = "SIZE" in self.extensions
        commands = [*envelope_of(delivery.mail, self.extensions), *([Command("DATA", b"DATA\r\n")] if data else [])]
        for group in groups(commands, pipelining="PIPELINING" in self.extensions):
            if group[0].verb != "MAIL" and not delivery.hopeful:
                break
            self._write(b"".join(command.octets for command in group))
            for command in group:
                delivery.hear(command.verb, (yield command.verb))

    def _check_go_ahead(self, delivery: Delivery) -> None:
        """Return if there is somebody to send the content to.  Raises ReplyError for a server that must have miscounted."""
        if not delivery.hopeful:
            if not delivery.accepted:
                self._write(b".\r\nQUIT\r\n")  # RFC 2920 section 3.1; how it is answered, nobody can know
            raise ReplyError("the server asked for a message that it had refused")

    def _chunks(self, delivery: Delivery) -> Talk[bool]:
        """Send the content in chunks; False when one was refused, and no more are sent (RFC 3030 section 2)."""
        for command, last in chunked(delivery.mail.content, self._chunk_octets):
            self._write(command)
            if not last and not (reply := (yield "BDAT")).positive:
                delivery.settle_all(reply, "BDAT")
                return False
        return True

    def _perform(self, verb: str, line: bytes) -> Talk[bool]:
        yield from self._ask(verb, line)
        return True

    def _reset(self) -> Talk[bool]:
        return self._is_reset((yield from self._ask("RSET", b"RSET\r\n")))

    def _is_reset(self, reply: Reply) -> bool:
        if not reply.positive:
            self._give_up("RSET", reply)
        return reply.positive

    def _starttls(self) -> Talk[bool]:
        reply = yield from self._ask("STARTTLS", b"STARTTLS\r\n")
        if not reply.positive:
            return True
        yield _TLS
        return (yield from self._introduce())

    def _quit(self) -> Talk[bool]:
        return False
        yield  # a generator like the other jobs

    # Book-keeping -----------------------------------------------------------------------------------------------

    def _queue(self, job: Callable[[], Talk[bool]], delivery: Delivery | None = None) -> None:
        if self.closed or self.problem:
            raise UsageError(f"the conversation is over: {self.problem or 'QUIT was said'}")
        self._jobs.append(job)
        if delivery:
            self._deliveries.append(delivery)
        if self._awaited == _IDLE:
            self._advance(partial(next, self._talk))

    def _hear(self, lines: tuple[bytes, ...]) -> None:
        """Take one reply: to what is awaited, whatever its code and its text."""
        try:
            reply = Reply.parse([line.decode("utf-8", "backslashreplace") for line in lines])
        except UsageError as problem:
            raise ReplyError(str(problem)) from None
        if reply.code == SHUTTING_DOWN_421.code:
            self._leaving = reply
        if self._awaited in {_IDLE, _TLS}:
            self._stay()
            raise ReplyError(f"a reply to nothing: {reply}")
        if reply.code // 100 not in _LEGAL.get(self._awaited, _USUALLY_LEGAL):
            raise ReplyError(f"no reply to {self._awaited}: {reply}")
        self._advance(partial(self._talk.send, reply))

    def _advance(self, step: Callable[[], str]) -> None:
        try:
            self._awaited = step()
        except ReplyError as problem:
            self._end(str(problem))
        except StopIteration:
            self._end(None)

    def _ask(self, verb: str, line: bytes) -> Talk[Reply]:
        self._write(line)
        reply = yield verb
        self._events.append(Answered(verb, reply))
        return reply

    def _write(self, octets: bytes) -> None:
        self._stay()
        self._out.append(octets)

    def _stay(self) -> None:
        """Return unless the server is leaving; what it still owes may come, but it is told no more (RFC 5321 section 3.8)."""
        if self._leaving:
            raise ReplyError(f"the server is shutting down: {self._leaving}")

    def _give_up(self, stage: Stage | str, reply: Reply) -> None:
        """The server will not have us: what has not been sent to it is not."""
        self.problem = f"{stage} was refused: {reply}"
        while self._deliveries and stage != "RSET":
            self._deliveries[0].settle_all(reply, "connect" if stage == "connect" else "LHLO")
            self._finish(self._deliveries[0])

    def _finish(self, delivery: Delivery) -> None:
        self._deliveries.remove(delivery)
        self._events.append(delivery.done)

    def _end(self, problem: str | None) -> None:
        """The conversation is over; of recipients without an answer nothing is known (RFC 2033 section 5)."""
        if self.closed:
            return
        self.closed = True
        self.problem = self.problem or problem
        self._awaited = _IDLE
        while self._deliveries:
            self._deliveries[0].settle_all(LOST_451, "lost")
            self._finish(self._deliveries[0])
        self._events.append(Closed(self.problem))


def _line(verb: str, argument: str) -> bytes:
    """A command line.  Raises UsageError for what it may not hold (RFC 5321 section 4.1.1)."""
    line = f"{verb} {argument}".rstrip(" ")
    if not verb or not (line.isascii() and line.isprintable()):
        raise UsageError(f"a command line is printable ASCII: {line!r}")
    return f"{line}\r\n".encode()
