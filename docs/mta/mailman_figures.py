"""Processor time of look-ups in Mailman's database: `python mailman_figures.py` prints a table, in milliseconds a question.

The original's RCPT is measured beside ours, in the same process, with 4 and with 2,000 lists.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable
from pathlib import Path as FilePath
from tempfile import TemporaryDirectory
from types import SimpleNamespace

from mailman.app.lifecycle import create_list
from mailman.config import config
from mailman.interfaces.domain import IDomainManager
from mailman.runners.lmtp import LMTPHandler
from mailman_lists import make_mailman, subscribe
from mailman_many import add_lists, add_members
from zope.component import getUtility

from lmtpref.mailman.directory import MailmanLists
from lmtpref.mailman.interface_reader import interface_reader
from lmtpref.mailman.table_reader import table_reader
from lmtpref.protocol.syntax import Path

QUESTIONS = 100
ROUNDS = 5
MEMBERS = 1_000


def milliseconds(question: Callable[[], object]) -> float:
    """Return the processor time of one question: the best of several rounds."""
    rounds = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        for _ in range(QUESTIONS):
            question()
        rounds.append((time.process_time() - begun) / QUESTIONS)
    return min(rounds) * 1000


def questions() -> dict[str, Callable[[], object]]:
    """Return what is measured, by its name."""
    handler, recipient = LMTPHandler(), Path.parse("ant@lists.example")
    envelope = SimpleNamespace(rcpt_tos=[], rcpt_options=[])
    found: dict[str, Callable[[], object]] = {
        "the original's RCPT": lambda: handler._handle_RCPT(None, None, envelope, recipient.address, [])  # noqa: SLF001 - no other way in
    }
    for name, readers in ("interfaces", interface_reader), ("tables", table_reader):
        lists = MailmanLists(readers=readers)
        for sender in "anne@home.test", "bart@home.test":
            found[f"{name}, {sender}"] = lambda lists=lists, sender=sender: lists.look_up(recipient, Path.parse(sender))  # type: ignore[misc]  # as above
    return found


def main() -> None:
    """Print the table."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    with TemporaryDirectory() as name:
        make_mailman(FilePath(name))
        getUtility(IDomainManager).add("lists.example")
        ant = create_list("ant@lists.example")
        subscribe(ant, "anne@home.test")
        config.db.commit()
        add_members(ant.list_id, MEMBERS)
        add_lists(3)
        few = {name: milliseconds(question) for name, question in questions().items()}
        add_lists(1_996)
        many = {name: milliseconds(question) for name, question in questions().items()}
    print(f"{'':32}{'4 lists':>10}{'2,000 lists':>14}")
    for name, value in few.items():
        print(f"{name:32}{value:10.2f}{many[name]:14.2f}")


if __name__ == "__main__":
    main()
