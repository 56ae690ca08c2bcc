"""The journal of a server: the record of each transaction with the rules that decided it, as lines of JSON."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from lmtpref.lists.addresses import fold_address
from lmtpref.lists.policy.default import Decision
from lmtpref.lists.policy.facts import DataFacts, Facts, MessageFacts, RecipientFacts, SenderFacts
from lmtpref.lists.policy.header import Header
from lmtpref.net.transaction_record import Attempt, TransactionRecord
from lmtpref.protocol.handler import Peer
from lmtpref.protocol.replies import Reply

# The addresses of one transaction for which the rules are logged.
MAX_ADDRESSES = 10_000
MAX_KEY_OCTETS = 64  # BLAKE2b's

# Of a recipient, or of "" before RCPT: stage -> the name of the rule that decided.
Rules = dict[str, dict[str, str]]


class Journal(Protocol):
    """A receiver of each transaction's record, and of the decisions in it."""

    def decided(self, decision: Decision, facts: Facts) -> None:
        """Receive the decision of a rule, with its facts."""

    def ended(self, record: TransactionRecord) -> None:
        """Receive the record of a finished transaction."""


class JsonJournal:
    """Write each finished transaction as a line of JSON, with the rules that decided it.

    With a `key`, addresses are replaced by keyed hashes; equal addresses have equal hashes, and case is ignored.
    """

    def __init__(self, write: Callable[[str], None], key: bytes | None = None) -> None:
        self._write = write
        self._key = key
        # The entry of a connection goes when its peer object goes.
        self._rules: WeakKeyDictionary[Peer, Rules] = WeakKeyDictionary()

    def decided(self, decision: Decision, facts: Facts) -> None:
        """Note the decision of a rule in an open transaction."""
        address = ""
        if isinstance(facts, MessageFacts):
            facts = facts.rcpt
        if isinstance(facts, RecipientFacts):
            address = facts.recipient.given
        if decision.rule and isinstance(facts, SenderFacts | RecipientFacts | DataFacts) and not getattr(facts, "in_header", False):
            rules = self._rules.setdefault(facts.peer, {})
            if address in rules or len(rules) < MAX_ADDRESSES:
                rules.setdefault(address, {})[decision.stage.value] = decision.rule.name

    def ended(self, record: TransactionRecord) -> None:
        """Write the record of a finished transaction."""
        rules = self._rules.pop(record.peer, {})
        line = {
            "time": _now(),
            "event": "transaction",
            "connection": record.connection,
            "transaction": record.number,
            "peer": record.peer.address or "unix",
            "lhlo": record.peer.lhlo,
            "message_id": Header(record.content).message_id,
            "from": self._spelled(record.sender),
            "mail": _codes(record.mail),
            "to": [self._recipient(attempt, rules) for attempt in record.recipients],
            "omitted": record.omitted or None,
            "data": _codes(record.data),
            "rules": rules.get("", {}),
            "octets": len(record.content),
            "milliseconds": round(record.seconds * 1000, 3),
            "end": record.end,
        }
        self._write(json.dumps({name: value for name, value in line.items() if value not in (None, {})}))

    def _recipient(self, attempt: Attempt, rules: Rules) -> dict[str, Any]:
        line = {
            "address": self._spelled(attempt.address),
            "rcpt": _codes(attempt.rcpt),
            "final": _codes(attempt.final),
            "rules": rules.get(attempt.address, {}),
        }
        return {name: value for name, value in line.items() if value not in (None, {})}

    def _spelled(self, address: str) -> str:
        if self._key is None or not address:
            return address
        return blake2b(fold_address(address).encode("utf-8", "surrogateescape"), digest_size=8, key=self._key).hexdigest()


class JsonFormatter(logging.Formatter):
    """Format all other log records as lines of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, object] = {"time": _now(), "event": "log", "level": record.levelname, "logger": record.name}
        line["message"] = record.getMessage()
        if connection := getattr(record, "connection", None):
            line["connection"] = connection
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def _codes(reply: Reply | None) -> str | None:
    if reply is None:
        return None
    return f"{reply.code} {reply.enhanced}" if reply.enhanced else str(reply.code)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
