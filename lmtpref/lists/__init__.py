"""Mailing lists and the right to post to them."""

from __future__ import annotations

from lmtpref.lists.addresses import ListAddress, Subaddress, parse_local_part
from lmtpref.lists.directory.memory import MemoryDirectory
from lmtpref.lists.handler import ListHandler
from lmtpref.lists.mailboxes import Kept, Mailboxes
from lmtpref.lists.mailinglist import Judge, ListDirectory, Lookup, MailingList, NonmemberAction, NullSender, Standing, Unvouched
from lmtpref.lists.policy.default import DEFAULT_POLICY, SESSION_LIMITS, Decision, Policy, decide, rules_of
from lmtpref.lists.policy.facts import DataFacts, MessageFacts, PeerFacts, RecipientFacts, SenderFacts, Stage
from lmtpref.lists.policy.rules import Rule, at
from lmtpref.lists.policy.verdicts import ACCEPT, Accept, Defer, Discard, Hold, Reject, Verdict
from lmtpref.lists.queues.consume import Consumer, Delivery, consume
from lmtpref.lists.queues.entry_file import DamagedEntryError
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

__all__ = [
    "ACCEPT",
    "DEFAULT_POLICY",
    "SESSION_LIMITS",
    "Accept",
    "ClaimLostError",
    "Consumer",
    "DamagedEntryError",
    "DataFacts",
    "Decision",
    "Defer",
    "Delivery",
    "Discard",
    "Disk",
    "Entry",
    "EntrySink",
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
    "Spool",
    "Stage",
    "Standing",
    "Stored",
    "StoredEntry",
    "Subaddress",
    "Unvouched",
    "Verdict",
    "at",
    "consume",
    "decide",
    "open_queues",
    "open_store",
    "parse_local_part",
    "rules_of",
    "show",
]
