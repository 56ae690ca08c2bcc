"""Records of transactions: which reply each recipient had, and how the transaction ended."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from lmtpref.protocol.commands import Command
from lmtpref.protocol.handler import Envelope, Peer, Recipient
from lmtpref.protocol.observer import Observer
from lmtpref.protocol.replies import Reply

log = logging.getLogger(__name__)

MAX_REJECTED = 1_000  # named recipients in the record of one transaction; any more are only counted


@dataclass(slots=True, eq=False)
class Attempt:
    """One RCPT: the address between its angle brackets, the reply to it, and the final reply if there was one."""

    address: str
    rcpt: Reply
    final: Reply | None = None


@dataclass(slots=True, eq=False)
class TransactionRecord:
    """One transaction, from MAIL to its end.

    `connection` and `number` count from 1, in this process and on this connection.  `data` is the reply that rejected DATA.
    `end` is "answered" if each recipient had its final reply, and "refused" if MAIL was rejected.
    Otherwise it names the end of the transaction: the verb of a command, a reply, or "lost".
    `recipients` holds at most MAX_REJECTED rejected ones; `omitted` counts the others.
    `content` is empty unless the whole message was taken; `seconds` is the duration.
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


class JournalObserver(Observer):
    """Call `write_record` with the record of each transaction of one conversation after the transaction has ended."""

    def __init__(self, write_record: Callable[[TransactionRecord], None]) -> None:
        self._write_record = write_record
        self._number = 0
        self._rejected = 0  # recipients of the current transaction
        self._command: Command | None = None  # its reply is still to come
        self._end = ""  # the end of the conversation: a 421, or "lost"
        self._begun = 0.0
        self._record: TransactionRecord | None = None
        self._unanswered: deque[Attempt] | None = None  # recipients without a final reply, once the first reply has come

    def connected(self, peer: Peer) -> None:
        """Note the peer."""
        self._peer = peer

    def received(self, command: Command) -> None:
        """Note the command."""
        self._command = command
        if not self._record:
            self._begun = time.monotonic()

    def message(self, envelope: Envelope) -> None:
        """Note the content."""
        if self._record:
            self._record.content = envelope.content

    def replied(self, reply: Reply, recipient: Recipient | None) -> None:
        """Store the reply with the attempt that it answers."""
        command, self._command = self._command, None
        verb = command.verb if command else ""
        if reply.code == 421:
            self._end = f"{reply.code} {reply.enhanced}"
        if recipient is not None and verb != "RCPT":
            self._note_final(reply)
        elif command and verb == "MAIL" and not self._record:
            self._begin(command, reply)
        elif command and verb == "RCPT" and self._record:
            self._note_recipient(self._record, Attempt(_address(command.argument), reply))
        elif verb == "DATA" and self._record and reply.code >= 400:
            self._record.data = reply

    def ended(self, envelope: Envelope, answered: bool) -> None:  # noqa: ARG002, FBT001 - as the observer has them
        """Report the transaction."""
        if self._unanswered is not None and not self._unanswered:
            self._finish("answered")
        else:
            self._finish(self._command.verb if self._command else self._end or "lost")

    def ended_input(self) -> None:
        """Note the end of a transaction that no command ended."""
        self._end = self._end or "lost"

    def lost(self) -> None:
        """Note the end of the transaction, for any current command."""
        self._command = None
        self.ended_input()

    def _begin(self, command: Command, reply: Reply) -> None:
        self._number += 1
        self._record = TransactionRecord(self._peer, self._peer.connection, self._number, _address(command.argument), reply)
        self._unanswered = None
        self._rejected = 0
        if not reply.positive:
            self._finish("refused")

    def _note_recipient(self, record: TransactionRecord, attempt: Attempt) -> None:
        self._rejected += not attempt.rcpt.positive
        if attempt.rcpt.positive or self._rejected <= MAX_REJECTED:
            record.recipients.append(attempt)
        else:
            record.omitted += 1

    def _note_final(self, reply: Reply) -> None:
        if not self._record:
            return
        if self._unanswered is None:
            self._unanswered = deque(attempt for attempt in self._record.recipients if attempt.rcpt.positive)
        self._unanswered.popleft().final = reply

    def _finish(self, end: str) -> None:
        record, self._record = self._record, None
        if record:
            record.end, record.seconds = end, time.monotonic() - self._begun
            try:
                self._write_record(record)
            # An error in the journal must not change the reply.
            except Exception:
                log.exception("the journal failed")


def _address(argument: str) -> str:
    """Return the text between the angle brackets in the argument of MAIL or RCPT; without brackets, the whole argument."""
    return argument[argument.find("<") + 1 : argument.rfind(">")] if "<" in argument and ">" in argument else argument
