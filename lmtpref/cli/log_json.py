"""`lmtpref serve --log-json`: a line of JSON for each transaction, and for each other log record."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from lmtpref.cli.arguments import path_name
from lmtpref.lists.addresses import fold_address
from lmtpref.lists.policy.default import Decision
from lmtpref.lists.policy.facts import DataFacts, Facts, MessageFacts, RecipientFacts, SenderFacts
from lmtpref.lists.policy.header import Header
from lmtpref.net.journal import Attempt, Record
from lmtpref.protocol.errors import UsageError
from lmtpref.protocol.handler import Peer
from lmtpref.protocol.replies import Reply

# The addresses of one transaction for which the rules are logged.
MAX_ADDRESSES = 10_000
MAX_KEY_OCTETS = 64  # BLAKE2b's

# Of a recipient, or of "" before RCPT: stage -> the name of the rule that decided.
Rules = dict[str, dict[str, str]]


def add_to(serve: argparse.ArgumentParser) -> None:
    """Add the options to `serve`."""
    serve.add_argument("--log-json", action="store_true", help="log a line of JSON for each transaction, on standard error")
    serve.add_argument(
        "--log-key", type=path_name, metavar="FILE", help="with --log-json: write a hash instead of each address, with the key in FILE"
    )


def journal_for(options: argparse.Namespace) -> JsonJournal | None:
    """Return the journal that the options request; None without one.  Raises UsageError if the key cannot be read."""
    if not options.log_json:
        if options.log_key:
            raise UsageError("--log-key needs --log-json")
        return None
    for handler in logging.getLogger().handlers:
        handler.setFormatter(JsonFormatter())
    return JsonJournal(lambda line: print(line, file=sys.stderr, flush=True), _read_key(options.log_key) if options.log_key else None)


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

    def ended(self, record: Record) -> None:
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


def _read_key(path: str) -> bytes:
    try:
        key = Path(path).read_bytes().strip()
    except OSError as error:
        raise UsageError(f"--log-key: {path}: {error.strerror}") from error
    if not 0 < len(key) <= MAX_KEY_OCTETS:
        raise UsageError(f"--log-key: {path}: a key has 1 to {MAX_KEY_OCTETS} octets")
    return key
