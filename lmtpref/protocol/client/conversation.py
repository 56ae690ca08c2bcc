"""The commands of a client and their order; each part of a conversation is a generator that yields the verb awaiting a reply."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from typing import NamedTuple, TypeVar

from lmtpref.protocol.client.delivery import LOST_451, ClientDelivery, Done, Outcome, OutcomeStage, groups
from lmtpref.protocol.client.message import ClientCommand, Extensions, chunked, envelope_of, refusal_of, stuffed
from lmtpref.protocol.errors import ReplyError
from lmtpref.protocol.limits import parse_limits
from lmtpref.protocol.replies import Reply

IDLE, TLS = "nothing", "TLS"  # yielded to wait for a job, and for the TLS handshake

T = TypeVar("T")
Talk = Generator[str, Reply, T]


class Answered(NamedTuple):
    """A command outside transactions was answered; `connect` is the greeting."""

    verb: str
    reply: Reply

    def __str__(self) -> str:
        return f"{self.verb}: {self.reply}"


class Closed(NamedTuple):
    """The conversation is over; `problem` gives the reason, and is None after QUIT."""

    problem: str | None

    def __str__(self) -> str:
        return f"closed: {self.problem}" if self.problem else "closed"


ClientEvent = Answered | Outcome | Done | Closed


class ClientConversation:
    """One conversation: `talk` runs it, `jobs` holds the requested work, `deliveries` the unfinished messages.

    A job returns whether the conversation continues.  ReplyError ends `talk`.
    """

    def __init__(self, lhlo: bytes, *, prefer_chunks: bool, chunk_octets: int) -> None:
        self.extensions: Extensions = {}
        self.problem: str | None = None
        self.secure = False  # whether TLS has begun
        self.shutdown_reply: Reply | None = None  # the server's 421
        self.out: list[bytes] = []
        self.events: deque[ClientEvent] = deque()
        self.jobs: deque[Callable[[], Talk[bool]]] = deque()
        self.deliveries: deque[ClientDelivery] = deque()
        self._lhlo = lhlo
        self._prefer_chunks, self._chunk_octets = prefer_chunks, chunk_octets

    def talk(self) -> Talk[None]:
        """Run the conversation from the greeting to the reply to QUIT."""
        greeting = yield "connect"
        self.events.append(Answered("connect", greeting))
        if greeting.positive:
            usable = yield from self._send_lhlo()
        else:
            usable = self._give_up("connect", greeting)
        while usable:
            while not self.jobs:
                self.raise_if_shutting_down()
                yield IDLE
            usable = yield from self.jobs.popleft()()
        yield from self._ask("QUIT", b"QUIT\r\n")

    def end(self, problem: str | None) -> None:
        """End the conversation; recipients without a reply get the outcome `lost` (RFC 2033 section 5)."""
        self.problem = self.problem or problem
        self._record_all(LOST_451, "lost")
        self.events.append(Closed(self.problem))

    def raise_if_shutting_down(self) -> None:
        """Raise ReplyError if the server answered 421: its replies are still read, but no command is sent (RFC 5321 section 3.8)."""
        if self.shutdown_reply:
            raise ReplyError(f"the server is shutting down: {self.shutdown_reply}")

    # Jobs -------------------------------------------------------------------------------------------------------

    def deliver(self, delivery: ClientDelivery) -> Talk[bool]:
        """Send a message, in as many transactions as the server's RCPTMAX requires (RFC 9422 section 4.2)."""
        usable = True
        if refusal := refusal_of(delivery.mail, self.extensions):
            delivery.record_all(refusal, "client")
        most = parse_limits(self.extensions.get("LIMITS", ())).get("RCPTMAX")
        while usable and delivery.begin(most):
            if not (yield from self._transact(delivery)):
                self._write(b"RSET\r\n")
                usable = self._is_reset((yield "RSET"))
        if not usable:
            delivery.record_all(LOST_451, "lost")
        self._finish(delivery)
        return usable

    def perform(self, verb: str, line: bytes) -> Talk[bool]:
        """Send a command that has no effect on the conversation."""
        yield from self._ask(verb, line)
        return True

    def reset(self) -> Talk[bool]:
        """Send RSET."""
        return self._is_reset((yield from self._ask("RSET", b"RSET\r\n")))

    def starttls(self) -> Talk[bool]:
        """Send STARTTLS, and LHLO after the handshake; the plaintext offer is discarded (RFC 3207 section 4.2)."""
        reply = yield from self._ask("STARTTLS", b"STARTTLS\r\n")
        if not reply.positive:
            return True
        yield TLS
        self.secure = True
        return (yield from self._send_lhlo())

    def leave(self) -> Talk[bool]:
        """End the conversation."""
        yield from ()
        return False

    # One transaction --------------------------------------------------------------------------------------------

    def _transact(self, delivery: ClientDelivery) -> Talk[bool]:
        """Send one transaction; return False if it is still open on the server, so that RSET is needed."""
        mail = delivery.mail
        in_chunks = mail.binary or (self._prefer_chunks and "CHUNKING" in self.extensions)
        yield from self._envelope(delivery, data=not in_chunks)
        if delivery.go_ahead:
            self._check_go_ahead(delivery)
            self._write(stuffed(mail.content))
        elif not in_chunks or not delivery.has_live_recipients or not (yield from self._chunks(delivery)):
            return False
        replies = []
        for position in delivery.accepted:
            replies.append((yield "."))
            delivery.record(position, replies[-1], ".")
        return not in_chunks or all(reply.positive for reply in replies)

    def _envelope(self, delivery: ClientDelivery, *, data: bool) -> Talk[None]:
        """Send MAIL, each RCPT and DATA; stop when no recipient can get the message."""
        delivery.size_declared = "SIZE" in self.extensions
        commands = [
            *envelope_of(delivery.mail, self.extensions, delivery.positions),
            *([ClientCommand("DATA", b"DATA\r\n")] if data else []),
        ]
        for group in groups(commands, pipelining="PIPELINING" in self.extensions):
            if group[0].verb != "MAIL" and not delivery.has_live_recipients:
                break
            self._write(b"".join([command.octets for command in group]))
            for command in group:
                delivery.take_reply(command.verb, (yield command.verb))

    def _check_go_ahead(self, delivery: ClientDelivery) -> None:
        """Check that a recipient can get the content.  Raises ReplyError if not, since the server sent 354 all the same."""
        if not delivery.has_live_recipients:
            if not delivery.accepted:
                # RFC 2920 section 3.1.  The number of replies to this is unknown.
                self._write(b".\r\nQUIT\r\n")
            raise ReplyError("the server asked for a message that it had rejected")

    def _chunks(self, delivery: ClientDelivery) -> Talk[bool]:
        """Send the content in chunks; stop at a rejected chunk, and return False (RFC 3030 section 2)."""
        for command, last in chunked(delivery.mail.content, self._chunk_octets):
            self._write(command)
            if not last and not (reply := (yield "BDAT")).positive:
                delivery.record_transaction(reply, "BDAT")
                return False
        return True

    # Helpers ----------------------------------------------------------------------------------------------------

    def _send_lhlo(self) -> Talk[bool]:
        """Send LHLO; return whether the server accepted it.  No other greeting is tried (RFC 2033 section 4.1)."""
        self.extensions = {}
        reply = yield from self._ask("LHLO", self._lhlo)
        if not reply.positive:
            return self._give_up("LHLO", reply)
        offers = (line.upper().split() for line in reply.lines[1:])
        self.extensions = {keyword: tuple(words) for keyword, *words in filter(None, offers)}
        return True

    def _ask(self, verb: str, line: bytes) -> Talk[Reply]:
        self._write(line)
        reply = yield verb
        self.events.append(Answered(verb, reply))
        return reply

    def _write(self, octets: bytes) -> None:
        self.raise_if_shutting_down()
        self.out.append(octets)

    def _is_reset(self, reply: Reply) -> bool:
        """Return whether RSET succeeded; if not, the state of the server is unknown."""
        if not reply.positive:
            self.problem = f"RSET was rejected: {reply}"
        return reply.positive

    def _give_up(self, stage: OutcomeStage, reply: Reply) -> bool:
        """End the conversation after a rejected LHLO or connection: each message gets `reply`."""
        self.problem = f"{stage} was rejected: {reply}"
        self._record_all(reply, stage)
        return False

    def _record_all(self, reply: Reply, stage: OutcomeStage) -> None:
        while self.deliveries:
            self.deliveries[0].record_all(reply, stage)
            self._finish(self.deliveries[0])

    def _finish(self, delivery: ClientDelivery) -> None:
        self.deliveries.remove(delivery)
        self.events.append(delivery.done)
