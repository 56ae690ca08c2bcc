"""The order of commands: one table, state by verb."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from lmtpref.protocol import catalogue as say
from lmtpref.protocol.replies import Reply


class State(Enum):
    """The states of a conversation."""

    CONNECTED = "greeting not yet sent"
    REFUSED = "after a 554 greeting"
    GREETED = "before LHLO"
    READY = "after LHLO, no transaction"
    SENDER = "MAIL accepted, no recipient yet"
    RECIPIENT = "at least one recipient accepted"
    CHUNKS = "after the first BDAT"
    DATA = "after 354, until the final dot"
    REPLIES = "after the end of the message, until the last recipient is answered"
    TLS = "after the reply to STARTTLS, until TLS begins"
    CLOSED = "after the last reply"

    # Enum's own method is a Python function, and the session looks up the state for every command.
    __hash__ = object.__hash__


VERBS = ("LHLO", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "NOOP", "VRFY", "HELP", "XFORWARD", "STARTTLS", "QUIT")
_NOT_IN_A_TRANSACTION = {"MAIL": say.NESTED_MAIL_503, "XFORWARD": say.NESTED_MAIL_503, "STARTTLS": say.NESTED_MAIL_503}

# The order of commands (RFC 5321 section 4.1.4, RFC 2033 section 4.2): the reply that rejects a verb in a state.
# A pair that is not in the table is allowed.
OUT_OF_ORDER: Mapping[State, Mapping[str, Reply]] = {
    State.REFUSED: dict.fromkeys(VERBS[:-1], say.NO_SERVICE_503),
    State.GREETED: dict.fromkeys(("MAIL", "RCPT", "DATA", "BDAT", "XFORWARD", "STARTTLS"), say.NEED_LHLO_503),
    State.READY: dict.fromkeys(("RCPT", "DATA", "BDAT"), say.NEED_MAIL_503),
    State.SENDER: _NOT_IN_A_TRANSACTION | dict.fromkeys(("DATA", "BDAT"), say.NEED_RECIPIENT_503),
    State.RECIPIENT: _NOT_IN_A_TRANSACTION,
    State.CHUNKS: _NOT_IN_A_TRANSACTION | dict.fromkeys(("RCPT", "DATA"), say.NEED_BDAT_503),
}

# Commands whose replies may be sent together (RFC 2920 section 3.2 item 2; Postfix documents it for its XFORWARD).
GROUPED = frozenset({"MAIL", "RCPT", "RSET", "XFORWARD"})

# Commands that are performed in plaintext even if TLS is required (RFC 3207 section 4).
_IN_THE_CLEAR = frozenset({"NOOP", "LHLO", "STARTTLS", "QUIT"})

# Verbs that other documents define and this server does not offer: 502, not 500 (RFC 5321 section 4.2.4).
_NOT_IMPLEMENTED = frozenset({"EXPN", "AUTH", "ETRN", "TURN", "SEND", "SOML", "SAML"})


def out_of_order(verb: str, state: State, *, tls_needed: bool) -> Reply | None:
    """Return the reply that rejects `verb` in this state; None if the state allows it."""
    if tls_needed and state is not State.REFUSED and verb not in _IN_THE_CLEAR:
        return say.NEED_TLS_530
    return OUT_OF_ORDER[state].get(verb)


def refusal_of(verb: str) -> Reply:
    """Return the reply to a verb that this server does not perform in any state."""
    if verb in {"HELO", "EHLO"}:
        return say.NOT_SMTP_500
    return say.NOT_IMPLEMENTED_502 if verb in _NOT_IMPLEMENTED else say.UNKNOWN_COMMAND_500
