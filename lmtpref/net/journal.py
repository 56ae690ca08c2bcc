"""A session that keeps a journal: for each transaction, who was told what, and how it ended."""

from __future__ import annotations

import itertools
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from lmtpref.net.connection import Connection
from lmtpref.protocol.catalogue import SHUTTING_DOWN_421
from lmtpref.protocol.conversation import Outcome
from lmtpref.protocol.handler import Peer
from lmtpref.protocol.replies import Reply
from lmtpref.protocol.session import Session
from lmtpref.protocol.settings import Settings
from lmtpref.protocol.transaction import Transaction

MAX_REJECTED = 1_000  # recipients of one transaction that a record names; it counts the others

log = logging.getLogger(__name__)

_serial = itertools.count(1)


@dataclass(slots=True, eq=False)
class Attempt:
    """One RCPT: the address between its angle brackets, the reply to it, and the final one if there was any."""

    address: str
    rcpt: Reply
    final: Reply | None = None


@dataclass(slots=True, eq=False)
class Record:
    """One transaction, from MAIL to its end.

    `connection` and `number` count from 1, in this process and on this connection.  `data` is what DATA was refused with.
    `end` is "answered" when the last reply was given, "refused" if MAIL was, else what ended it: the verb of a command, a
    reply, or "lost".  `recipients` holds at most MAX_REJECTED that were rejected; `omitted` counts the others.
    `content` is empty unless the whole message was taken; `seconds` is how long it all took.
    """

    peer: Peer
    connection: int
    number: int
    sender: str
    mail: Reply
    recipients: list[Attempt] = field(default_factory=list)
    omitted: int = 0
    data: Reply | None = None
    content: bytes = b""
    end: str = ""
    seconds: float = 0.0


class JournalSession(Session):
    """A session that calls `tell` with each transaction when that has ended, and says what a session says."""

    def __init__(self, settings: Settings, peer: Peer, _line: Connection, *, tell: Callable[[Record], None]) -> None:
        super().__init__(settings, peer)
        self._begin_journal(tell)

    def _begin_journal(self, tell: Callable[[Record], None]) -> None:
        self._tell = tell
        self._connection = next(_serial)
        self._number = 0
        self._rejected = 0  # recipients of this transaction
        self._verb = self._argument = ""  # of the command that is being answered
        self._begun = 0.0
        self._record: Record | None = None
        self._transaction: Transaction | None = None  # that the record is of
        self._due: deque[Attempt] = deque()  # those who have no final reply yet, when one has

    def shut_down(self, reply: Reply = SHUTTING_DOWN_421) -> None:
        """Say `reply`, a 421, and close."""
        if self._pending is None:
            self._verb = ""  # it answers nothing
        super().shut_down(reply)
        self._finish(f"{reply.code} {reply.enhanced}")

    def lost(self) -> None:
        """The connection is gone."""
        self._finish("lost")
        super().lost()

    def _advance_line(self) -> bool:
        if self.transaction is not self._transaction:
            self._finish(self._verb)  # BDAT 0 LAST without a recipient ends it without a reply
        self._verb = ""  # a line may be refused before it has one
        return super()._advance_line()

    def _perform(self, verb: str, argument: str) -> Outcome:
        self._verb, self._argument = verb, argument
        if not self._record:
            self._begun = time.monotonic()
        return super()._perform(verb, argument)

    def _say(self, reply: Reply, *, urgent: bool) -> None:
        super()._say(reply, urgent=urgent)
        if self._record:
            self._note(self._record, reply)
        if not self._record and self._verb == "MAIL":
            self._begin(reply)

    def _begin(self, reply: Reply) -> None:
        self._number += 1
        self._rejected = 0
        self._record = Record(self.peer, self._connection, self._number, _address(self._argument), reply)
        self._transaction = self.transaction
        if not self._transaction:
            self._finish("refused")

    def _note(self, record: Record, reply: Reply) -> None:
        """Put a reply where it belongs; one that comes when the transaction is gone, and is no final one, tells what ended it."""
        transaction = self.transaction
        is_open = transaction is self._transaction
        if self._verb in {"DATA", "BDAT"} and not (is_open and transaction and not transaction.owed):
            self._note_final(record, reply)
        elif not is_open:
            self._finish(self._verb)
        elif self._verb == "RCPT":
            self._note_recipient(record, reply)
        elif self._verb == "DATA" and reply.code >= 400:
            record.data = reply

    def _note_recipient(self, record: Record, reply: Reply) -> None:
        self._rejected += not reply.positive
        if reply.positive or self._rejected <= MAX_REJECTED:
            record.recipients.append(Attempt(_address(self._argument), reply))
        else:
            record.omitted += 1

    def _note_final(self, record: Record, reply: Reply) -> None:
        if not self._due:
            self._due.extend(attempt for attempt in record.recipients if attempt.rcpt.positive)
        self._due.popleft().final = reply
        if not self._due:
            self._finish("answered")

    def _finish(self, end: str) -> None:
        """Tell of the transaction, if one is open here."""
        record, self._record = self._record, None
        if record:
            record.end, record.seconds = end, time.monotonic() - self._begun
            record.content = self._transaction.envelope.content if self._transaction else b""
            self._transaction = None
            self._due.clear()
            try:
                self._tell(record)
            except Exception:  # what cannot be told of is done all the same
                log.exception("the journal failed")


def _address(argument: str) -> str:
    """What stands between the angle brackets of MAIL's or RCPT's argument; all of it where there are none."""
    return argument[argument.find("<") + 1 : argument.rfind(">")] if "<" in argument and ">" in argument else argument
