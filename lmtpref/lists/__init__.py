"""Mailing lists, and who may post to them."""

from __future__ import annotations

from lmtpref.lists.addresses import Reading, Subaddress, readings
from lmtpref.lists.directory.memory import MemoryDirectory
from lmtpref.lists.handler import ListHandler
from lmtpref.lists.mailboxes import Kept, Mailboxes
from lmtpref.lists.mailinglist import Judge, ListDirectory, Lookup, MailingList, NonmemberAction, NullSender, Standing, Unvouched
from lmtpref.lists.policy.default import DEFAULT_POLICY, SESSION_LIMITS, Decision, Policy, decide, rules_of
from lmtpref.lists.policy.facts import DataFacts, MessageFacts, PeerFacts, RecipientFacts, SenderFacts, Stage
from lmtpref.lists.policy.rules import Rule, at
from lmtpref.lists.policy.verdicts import ACCEPT, Accept, Defer, Discard, Hold, Reject, Verdict
from lmtpref.lists.queues.entry_file import DamagedEntryError
from lmtpref.lists.queues.group_commit import Disk
from lmtpref.lists.queues.memory import Entry, MemoryQueue, MemoryQueues, Queues, show
from lmtpref.lists.queues.spool import MaildirQueue, MaildirQueues, Spool, Stored

__all__ = [
    "ACCEPT",
    "DEFAULT_POLICY",
    "SESSION_LIMITS",
    "Accept",
    "DamagedEntryError",
    "DataFacts",
    "Decision",
    "Defer",
    "Discard",
    "Disk",
    "Entry",
    "Hold",
    "Judge",
    "Kept",
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
    "Queues",
    "Reading",
    "RecipientFacts",
    "Reject",
    "Rule",
    "SenderFacts",
    "Spool",
    "Stage",
    "Standing",
    "Stored",
    "Subaddress",
    "Unvouched",
    "Verdict",
    "at",
    "decide",
    "readings",
    "rules_of",
    "show",
]
