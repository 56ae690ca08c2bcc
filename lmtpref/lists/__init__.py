"""Mailing lists, the right to post to them, and the queues for accepted posts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmtpref.lazy import lazy_names
from lmtpref.lists.addresses import SUFFIXES, ListAddress, Subaddress, parse_local_part
from lmtpref.lists.directory.memory import MemoryDirectory
from lmtpref.lists.handler import ListHandler
from lmtpref.lists.mailboxes import Kept, Mailboxes
from lmtpref.lists.mailinglist import (
    DirectoryError,
    Judge,
    ListDirectory,
    Lookup,
    MailingList,
    NonmemberAction,
    NullSender,
    Standing,
    Unvouched,
)
from lmtpref.lists.patterns import Pattern
from lmtpref.lists.policy.authentication import Author, Trust, author_of, parse_trust
from lmtpref.lists.policy.default import DEFAULT_POLICY, SESSION_LIMITS, Decision, Policy, decide, rules_of
from lmtpref.lists.policy.facts import DataFacts, MessageFacts, PeerFacts, RecipientFacts, SenderFacts, Stage
from lmtpref.lists.policy.header import MAX_SENDERS, Header
from lmtpref.lists.policy.rules import Rule, at
from lmtpref.lists.policy.verdicts import ACCEPT, Accept, Defer, Discard, Hold, Reject, Verdict
from lmtpref.lists.queues.consume import Consumer, Delivery, consume
from lmtpref.lists.queues.entry_file import DamagedEntryError
from lmtpref.lists.queues.entry_json import entry_from_json, entry_to_json
from lmtpref.lists.queues.interface import (
    ClaimLostError,
    EntrySink,
    QueueEngine,
    QueueOptions,
    Queues,
    QueueUnreachableError,
    StoredEntry,
)
from lmtpref.lists.queues.maildir_queues import MaildirQueues
from lmtpref.lists.queues.maildir_writer import Disk
from lmtpref.lists.queues.memory import Entry, MemoryQueue, MemoryQueues, show
from lmtpref.lists.queues.registry import open_queues, open_store
from lmtpref.lists.queues.spool import MaildirQueue, Spool, Stored
from lmtpref.lists.queues.url import masked
from lmtpref.lists.senders import Addresses, Senders
from lmtpref.lists.trace import trace

if TYPE_CHECKING:
    from lmtpref.lists.directory import tables as directory_tables
    from lmtpref.lists.directory.sql import SqlDirectory as SqlDirectory
    from lmtpref.lists.directory.sql_import import import_lists as import_lists
    from lmtpref.lists.queues.amqp.broker import AMQP_DEAD_ARGUMENTS as AMQP_DEAD_ARGUMENTS
    from lmtpref.lists.queues.amqp.broker import AMQP_QUEUE_ARGUMENTS as AMQP_QUEUE_ARGUMENTS
    from lmtpref.lists.queues.sql import tables as queue_tables

# SQLAlchemy and aio-pika may not be there, so these are imported when they are first used.
_HOMES = {
    "SqlDirectory": "lists.directory.sql",
    "import_lists": "lists.directory.sql_import",
    "directory_tables": "lists.directory.tables:",
    "queue_tables": "lists.queues.sql.tables:",
    "AMQP_QUEUE_ARGUMENTS": "lists.queues.amqp.broker",
    "AMQP_DEAD_ARGUMENTS": "lists.queues.amqp.broker",
}

__all__ = [
    "ACCEPT",
    "AMQP_DEAD_ARGUMENTS",
    "AMQP_QUEUE_ARGUMENTS",
    "DEFAULT_POLICY",
    "MAX_SENDERS",
    "SESSION_LIMITS",
    "SUFFIXES",
    "Accept",
    "Addresses",
    "Author",
    "ClaimLostError",
    "Consumer",
    "DamagedEntryError",
    "DataFacts",
    "Decision",
    "Defer",
    "Delivery",
    "DirectoryError",
    "Discard",
    "Disk",
    "Entry",
    "EntrySink",
    "Header",
    "Hold",
    "Judge",
    "Kept",
    "ListAddress",
    "ListDirectory",
    "ListHandler",
    "Lookup",
    "Mailboxes",
    "MaildirQueue",
    "MaildirQueues",
    "MailingList",
    "MemoryDirectory",
    "MemoryQueue",
    "MemoryQueues",
    "MessageFacts",
    "NonmemberAction",
    "NullSender",
    "Pattern",
    "PeerFacts",
    "Policy",
    "QueueEngine",
    "QueueOptions",
    "QueueUnreachableError",
    "Queues",
    "RecipientFacts",
    "Reject",
    "Rule",
    "SenderFacts",
    "Senders",
    "Spool",
    "SqlDirectory",
    "Stage",
    "Standing",
    "Stored",
    "StoredEntry",
    "Subaddress",
    "Trust",
    "Unvouched",
    "Verdict",
    "at",
    "author_of",
    "consume",
    "decide",
    "directory_tables",
    "entry_from_json",
    "entry_to_json",
    "import_lists",
    "masked",
    "open_queues",
    "open_store",
    "parse_local_part",
    "parse_trust",
    "queue_tables",
    "rules_of",
    "show",
    "trace",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
