"""Posts judged at RCPT by the envelope sender, with the rules of `lmtpref.lists` and the records of Mailman."""

from __future__ import annotations

from lmtpref.lists.directory.bounded import ask
from lmtpref.lists.mailinglist import ListDirectory
from lmtpref.lists.policy.default import DEFAULT_POLICY, decide, rules_of
from lmtpref.lists.policy.facts import RecipientFacts, Stage
from lmtpref.lists.policy.verdicts import Reject, Verdict
from lmtpref.protocol.catalogue import UNKNOWN_LIST_550
from lmtpref.protocol.handler import Envelope, Recipient
from lmtpref.protocol.maybe import resolve

_RULES = rules_of(DEFAULT_POLICY, Stage.RCPT)


async def judge_envelope(directory: ListDirectory, seconds: float, envelope: Envelope, recipient: Recipient) -> Verdict:
    """Return the verdict of the rules at RCPT; the directory has `seconds` for its answer.

    Mailman has no mail for postmaster, so a recipient that is no list is rejected.
    """
    found = await resolve(ask(seconds, directory.look_up, recipient.path, envelope.reverse_path))
    if found.list is None and not found.down:
        return Reject(UNKNOWN_LIST_550)
    facts = RecipientFacts(envelope.peer, envelope.reverse_path, envelope.declared_octets, recipient.path, found, found.served)
    return decide(Stage.RCPT, _RULES, facts).verdict
