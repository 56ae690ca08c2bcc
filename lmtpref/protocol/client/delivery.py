"""One message of a client: which reply belongs to which recipient, and each recipient's outcome."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from lmtpref.protocol.client.message import ClientCommand, MailObject
from lmtpref.protocol.replies import Reply

# The client sends a whole group, and the next one after all its replies.  100 replies of 512 octets (RFC 5321 section
# 4.5.3.1.5) are 51,200 octets.  They fit into a window of 65,535, the largest without scaling, and into the default
# buffers of TCP and of Unix sockets.  So the server can write them all while the client still writes, and no deadlock
# is possible.  The group itself is far smaller than a window too (RFC 2920 section 3.1).
MAX_GROUP_COMMANDS = 100
MAX_GROUP_OCTETS = 16_384

LOST_451 = Reply(451, "4.4.2", "The connection was lost before the server had answered for this recipient")

OutcomeStage = Literal["client", "connect", "LHLO", "MAIL", "RCPT", "DATA", "BDAT", ".", "lost"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one recipient: `reply` decided it, at `stage`.

    The stage is the command that was answered, or `.` for the end of the content (LAST of BDAT too).
    It is `client` if the server lacks what the mail needs and nothing was sent, and `lost` if no reply came.
    `position` counts RCPTs from 0, because an address may occur twice.
    """

    mail: MailObject
    position: int
    reply: Reply
    stage: OutcomeStage
    size_declared: bool = False

    @property
    def address(self) -> str:
        """The forward-path."""
        return self.mail.forward_paths[self.position]

    @property
    def delivered(self) -> bool:
        """Whether the server has accepted responsibility for this recipient (RFC 2033 section 4.2)."""
        return self.reply.positive

    @property
    def temporary(self) -> bool:
        """Whether another attempt for this recipient alone may succeed: a first digit 4 (RFC 5321 section 4.2.1).

        A 552 to RCPT counts too if it means too many recipients (section 4.5.3.1.10).  It does with the code 5.5.3, or without
        an enhanced code if no size was declared that it could refer to (RFC 1870 section 6.4).
        """
        if self.stage == "RCPT" and self.reply.code == 552:
            return str(self.reply.enhanced) == "5.5.3" if self.reply.enhanced else not self.size_declared
        return self.reply.code // 100 == 4

    def __str__(self) -> str:
        return f"{self.address}: {self.reply} ({self.stage})"


class Done(NamedTuple):
    """A finished message: the outcomes in the order of its forward-paths, one for each."""

    mail: MailObject
    outcomes: tuple[Outcome, ...]

    def __str__(self) -> str:
        return f"done: {sum(outcome.delivered for outcome in self.outcomes)} of {len(self.outcomes)} delivered"


class ClientDelivery:
    """An unfinished message, in one transaction or several.

    `positions` are those of the current transaction's recipients.  Replies must be passed in the order of the
    commands, because only the order pairs them.
    """

    def __init__(self, mail: MailObject, report: Callable[[Outcome], None]) -> None:
        self.mail = mail
        self.positions = range(0)
        self.accepted: list[int] = []  # positions of the accepted RCPTs, in order
        self.has_sender = False
        self.go_ahead = False  # whether DATA was answered 3xx
        self.size_declared = False
        self._report = report
        self._asked = 0  # the position of the next RCPT to be answered
        self._outcomes: dict[int, Outcome] = {}

    def begin(self, most: int | None) -> bool:
        """Begin the next transaction, with at most `most` recipients; return False if no recipient is left."""
        start, end = self.positions.stop, len(self.mail.forward_paths)
        if start == end or start in self._outcomes:
            return False
        self.positions = range(start, min(start + most, end) if most else end)
        self.accepted = []
        self.has_sender = self.go_ahead = False
        self._asked = start
        return True

    @property
    def has_live_recipients(self) -> bool:
        """Whether a recipient may still get the message, once MAIL was accepted."""
        return self.has_sender and (bool(self.accepted) or self._asked < self.positions.stop)

    @property
    def done(self) -> Done:
        """The outcomes, once each recipient has one."""
        return Done(self.mail, tuple([self._outcomes[position] for position in range(len(self.mail.forward_paths))]))

    def take_reply(self, verb: str, reply: Reply) -> None:
        """Process the reply to MAIL, to the next RCPT, or to DATA."""
        if verb == "RCPT":
            self._take_rcpt_reply(reply)
        elif verb == "MAIL":
            self.has_sender = reply.positive
            if not reply.positive:
                self.record_all(reply, "MAIL")
        else:
            self.go_ahead = reply.code // 100 == 3
            if not self.go_ahead:
                self.record_transaction(reply, "DATA")

    def _take_rcpt_reply(self, reply: Reply) -> None:
        if reply.positive:
            self.accepted.append(self._asked)
        else:
            self.record(self._asked, reply, "RCPT")
        self._asked += 1

    def record(self, position: int, reply: Reply, stage: OutcomeStage) -> None:
        """Record the outcome of a recipient; only the first one counts."""
        if position not in self._outcomes:
            self._outcomes[position] = Outcome(self.mail, position, reply, stage, self.size_declared)
            self._report(self._outcomes[position])

    def record_transaction(self, reply: Reply, stage: OutcomeStage) -> None:
        """Record `reply` for all recipients of the current transaction without an outcome."""
        for position in self.positions:
            self.record(position, reply, stage)

    def record_all(self, reply: Reply, stage: OutcomeStage) -> None:
        """Record `reply` for all recipients without an outcome."""
        for position in range(len(self.mail.forward_paths)):
            self.record(position, reply, stage)


def groups(commands: Iterable[ClientCommand], *, pipelining: bool) -> Iterator[list[ClientCommand]]:
    """Yield `commands` in groups; a group is sent after all replies to the one before (RFC 2920 section 3.1)."""
    most = MAX_GROUP_COMMANDS if pipelining else 1
    group: list[ClientCommand] = []
    octets = 0
    for command in commands:
        octets += len(command.octets)
        if group and (len(group) == most or octets > MAX_GROUP_OCTETS):
            yield group
            group, octets = [], len(command.octets)
        group.append(command)
    yield group
