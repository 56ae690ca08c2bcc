"""The forecast for a post, as a list owner reads it: Mailman's rules, the action, and the reply of the runner."""

from __future__ import annotations

from pathlib import Path as FilePath

from mailman.config import config
from mailman.core.chains import initialize as initialize_chains
from mailman.core.rules import initialize as initialize_rules
from mailman.utilities.datetime import now

from lmtpref.lists.forecast import Forecast
from lmtpref.mailman.messages import metadata
from lmtpref.mailman.plugin import configured_file
from lmtpref.mailman.recipients import find_recipient
from lmtpref.mailman.settings import RunnerSettings, load
from lmtpref.mailman.verdict import judge, reply_to_post
from lmtpref.protocol.catalogue import ACCEPTED_250


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

    `moment` and `discard` are the runner's settings `judge` and `discard`.  Raises DirectoryError: if the database cannot answer.
    """
    target = find_recipient(address)
    if target is None or target.subaddress is not None:
        return None
    foreseen = judge(target.list_id, content, sender, metadata(target, len(content), now()))
    if foreseen is None:
        return None
    # With `envelope` the runner has judged the sender at RCPT.
    reply = (reply_to_post(foreseen, discard) or ACCEPTED_250).naming(address) if moment == "foresee" else None
    return Forecast(str(foreseen.action), foreseen.reasons, foreseen.asked, reply)
