"""Mailing lists, and who may post to them."""

from __future__ import annotations

from lmtpref.lists.acceptance import DEFAULT_POLICY, Decision, Policy, decide, rules_of
from lmtpref.lists.addresses import Reading, Subaddress, readings
from lmtpref.lists.config import Configuration, cast, load
from lmtpref.lists.directory.memory import MemoryDirectory
from lmtpref.lists.facts import DataFacts, MessageFacts, PeerFacts, RecipientFacts, SenderFacts, Stage
from lmtpref.lists.handler import ListHandler
from lmtpref.lists.mailboxes import Kept, Mailboxes
from lmtpref.lists.queues import Entry, MemoryQueue, MemoryQueues, Queues, show
from lmtpref.lists.roster import ListDirectory, Lookup, MailingList, NonmemberAction, NullSender, Standing
from lmtpref.lists.rules import Rule, at
from lmtpref.lists.verdicts import ACCEPT, Accept, Defer, Discard, Hold, Refuse, Verdict

__all__ = [
    "ACCEPT",
    "DEFAULT_POLICY",
    "Accept",
    "Configuration",
    "DataFacts",
    "Decision",
    "Defer",
    "Discard",
    "Entry",
    "Hold",
    "Kept",
    "ListDirectory",
    "ListHandler",
    "Lookup",
    "Mailboxes",
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
    "Stage",
    "Standing",
    "Subaddress",
    "Verdict",
    "at",
    "cast",
    "decide",
    "load",
    "readings",
    "rules_of",
    "show",
]
