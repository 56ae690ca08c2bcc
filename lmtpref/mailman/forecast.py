"""The forecast for a post, as a list owner reads it: Mailman's rules, the action, and the reply of the runner."""

from __future__ import annotations

from pathlib import Path as FilePath

from mailman.config import config
from mailman.core.chains import initialize as initialize_chains
from mailman.core.rules import initialize as initialize_rules
from mailman.utilities.datetime import now

from lmtpref.lists.forecast import Forecast
from lmtpref.lists.mailinglist import DirectoryError
from lmtpref.mailman.database import database_errors
from lmtpref.mailman.foresee import Action
from lmtpref.mailman.messages import metadata, parse
from lmtpref.mailman.plugin import configured_file
from lmtpref.mailman.recipients import find_recipient
from lmtpref.mailman.settings import RunnerSettings, load
from lmtpref.mailman.verdict import judge, reply_to_post
from lmtpref.protocol.catalogue import ACCEPTED_250, DEFECTIVE_554


def load_rules() -> RunnerSettings:
    """Load Mailman's rules and chains, unless this process has them, and return the settings of the runner.

    Raises ConfigurationError: if the runner's configuration is wrong.
    """
    if not config.rules:
        initialize_rules()
        initialize_chains()
    file = configured_file()
    return load(FilePath(file) if file else None)


def forecast_post(address: str, sender: str, content: bytes, moment: str, discard: str) -> Forecast | None:
    """Return the forecast for a post; None if `address` is not a list's posting address.

    `moment` and `discard` are the runner's settings `judge` and `discard`.  Raises DirectoryError: if the database cannot answer,
    or the message cannot be parsed.
    """
    with database_errors():
        target = find_recipient(address)
    if target is None or target.subaddress is not None:
        return None
    if defects := _defects(content, sender):
        return Forecast(str(Action.REJECT), defects, (), DEFECTIVE_554.naming(address))
    foreseen = judge(target.list_id, content, sender, metadata(target, len(content), now()))
    if foreseen is None:
        return None
    # With `envelope` the runner has judged the sender at RCPT.
    reply = (reply_to_post(foreseen, discard) or ACCEPTED_250).naming(address) if moment == "foresee" else None
    return Forecast(str(foreseen.action), foreseen.reasons, foreseen.asked, reply)


def _defects(content: bytes, sender: str) -> tuple[str, ...]:
    """Return the names of the defects for which the runner rejects a message before it asks a rule.

    Raises DirectoryError: if the message cannot be parsed.
    """
    try:
        return tuple(type(defect).__name__ for defect in parse(content, sender).defects)
    except Exception as error:  # noqa: BLE001 - whatever the parser raises
        raise DirectoryError(f"the message cannot be parsed: {error}") from None
