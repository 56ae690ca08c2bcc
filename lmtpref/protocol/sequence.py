"""The order of commands: one table, state by verb."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from lmtpref.protocol import catalogue as say
from lmtpref.protocol.replies import Reply


class State(Enum):
    """Where a conversation stands."""

    CONNECTED = "greeting not yet sent"
    REFUSED = "after a 554 greeting"
    GREETED = "before LHLO"
    READY = "after LHLO, no transaction"
    SENDER = "MAIL accepted, no recipient yet"
    RECIPIENT = "at least one recipient accepted"
    DATA = "after 354, until the final dot is answered"


# The order of commands (RFC 5321 section 4.1.4, RFC 2033 section 4.2): which reply refuses a verb in a state.
# What is not in the table may come.
OUT_OF_ORDER: Mapping[State, Mapping[str, Reply]] = {
    State.REFUSED: dict.fromkeys(("LHLO", "MAIL", "RCPT", "DATA", "RSET", "NOOP", "VRFY", "HELP"), say.NO_SERVICE_503),
    State.GREETED: dict.fromkeys(("MAIL", "RCPT", "DATA"), say.NEED_LHLO_503),
    State.READY: dict.fromkeys(("RCPT", "DATA"), say.NEED_MAIL_503),
    State.SENDER: {"MAIL": say.NESTED_MAIL_503, "DATA": say.NEED_RECIPIENT_503},
    State.RECIPIENT: {"MAIL": say.NESTED_MAIL_503},
}

GROUPED = frozenset({"MAIL", "RCPT", "RSET"})  # whose replies may be sent together (RFC 2920 section 3.2 item 2)

# Verbs that other documents define and this server does not offer: 502, not 500 (RFC 5321 section 4.2.4).
_NOT_IMPLEMENTED = frozenset({"EXPN", "AUTH", "ETRN", "TURN", "SEND", "SOML", "SAML", "BDAT", "STARTTLS", "XFORWARD"})


def refusal_of(verb: str) -> Reply:
    """The reply to a verb that this server does not perform in any state."""
    if verb in {"HELO", "EHLO"}:
        return say.NOT_SMTP_500
    return say.NOT_IMPLEMENTED_502 if verb in _NOT_IMPLEMENTED else say.UNKNOWN_COMMAND_500
