"""Mailing lists, and who may post to them."""

from __future__ import annotations

from lmtpref.lists.acceptance import DEFAULT_POLICY, SESSION_LIMITS, Decision, Policy, decide, rules_of
from lmtpref.lists.addresses import Reading, Subaddress, readings
from lmtpref.lists.config import Configuration, cast, load
from lmtpref.lists.directory.memory import MemoryDirectory
from lmtpref.lists.facts import DataFacts, MessageFacts, PeerFacts, RecipientFacts, SenderFacts, Stage
from lmtpref.lists.handler import ListHandler
from lmtpref.lists.mailboxes import Kept, Mailboxes
from lmtpref.lists.queues import Entry, MemoryQueue, MemoryQueues, Queues, show
from lmtpref.lists.roster import Judge, ListDirectory, Lookup, MailingList, NonmemberAction, NullSender, Standing, Unvouched
from lmtpref.lists.rules import Rule, at
from lmtpref.lists.spool import MaildirQueue, MaildirQueues, Spool, Stored
from lmtpref.lists.spool_commit import Disk
from lmtpref.lists.spool_entry import DamagedEntryError
from lmtpref.lists.verdicts import ACCEPT, Accept, Defer, Discard, Hold, Refuse, Verdict

__all__ = [
    "ACCEPT",
    "DEFAULT_POLICY",
    "SESSION_LIMITS",
    "Accept",
    "Configuration",
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
    "Refuse",
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
    "cast",
    "decide",
    "load",
    "readings",
    "rules_of",
    "show",
]
