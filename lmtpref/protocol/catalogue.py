"""Every standard reply of this server, with its occasion and its source.

A name ends in the reply's code.  The wire text of a reply is defined here and nowhere else.
"""

from __future__ import annotations

from typing import NamedTuple

from lmtpref.protocol.replies import Reply


class CatalogueEntry(NamedTuple):
    """An entry of the catalogue: the name, the reply, its occasion, and its source."""

    name: str
    reply: Reply
    when: str
    source: str


_origins: dict[Reply, tuple[str, str]] = {}


def _reply(code: int, enhanced: str | None, text: str, when: str, source: str) -> Reply:
    reply = Reply(code, enhanced, text)
    _origins[reply] = when, source
    return reply


# Positive
HELP_214 = _reply(214, "2.0.0", "LHLO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT", "HELP", "RFC 5321 section 4.1.1.8")
BYE_221 = _reply(221, "2.0.0", "Bye", "QUIT", "RFC 5321 section 4.1.1.10")
READY_FOR_TLS_220 = _reply(220, "2.0.0", "Ready for TLS", "STARTTLS", "RFC 3207 section 4")
OK_250 = _reply(250, "2.0.0", "Ok", "NOOP, RSET", "RFC 5321 sections 4.1.1.5 and 4.1.1.9")
SENDER_OK_250 = _reply(250, "2.1.0", "Sender ok", "MAIL", "RFC 5321 section 4.1.1.2")
RECIPIENT_OK_250 = _reply(250, "2.1.5", "Recipient ok", "RCPT", "RFC 3463 section 3.2, X.1.5")
ACCEPTED_250 = _reply(250, "2.0.0", "Message accepted", "the final dot, for this recipient", "RFC 2033 section 4.2")
CHUNK_OK_250 = _reply(250, "2.0.0", "Chunk received", "BDAT without LAST", "RFC 3030 section 2")
XFORWARD_OK_250 = _reply(250, "2.0.0", "Origin noted", "XFORWARD", "Postfix XFORWARD_README")
NOT_VERIFIED_252 = _reply(252, "2.5.0", "Not verified; ask with RCPT", "VRFY", "RFC 5321 sections 3.5.3 and 7.3")
START_DATA_354 = _reply(354, None, "Send the message; end with <CRLF>.<CRLF>", "DATA", "RFC 5321 section 4.1.1.4")

# Deferred: the service, its limits, its errors
SHUTTING_DOWN_421 = _reply(421, "4.3.2", "Shutting down", "any command", "RFC 5321 section 3.8")
TOO_MANY_CONNECTIONS_421 = _reply(421, "4.3.2", "Too many connections; try again later", "connect", "RFC 5321 section 4.2.3")
TOO_MANY_FROM_PEER_421 = _reply(421, "4.7.0", "Too many connections from your address", "connect", "RFC 5321 section 7.8")
LOCAL_ERROR_421 = _reply(421, "4.3.0", "Local error; try again later", "connect", "RFC 5321 section 4.2.3")
IDLE_421 = _reply(421, "4.4.2", "Idle for too long", "waiting for the client", "RFC 5321 section 4.5.3.2.7")
TOO_SLOW_421 = _reply(421, "4.4.2", "This message takes too long", "waiting for the client", "RFC 3463 section 3.5, X.4.2")
NO_MESSAGE_421 = _reply(421, "4.4.2", "No message for too long", "waiting for the client", "RFC 3463 section 3.5, X.4.2")
TOO_MANY_ERRORS_421 = _reply(421, "4.7.0", "Too many errors", "any command", "RFC 5321 section 7.8")
LOCAL_ERROR_451 = _reply(451, "4.3.0", "Local error; try again later", "any command or recipient", "RFC 5321 section 4.2.3")
DIRECTORY_451 = _reply(451, "4.4.3", "The lists cannot be looked up; try again later", "RCPT, the final dot", "RFC 3463 section 3.5, X.4.3")
MEMBERS_450 = _reply(450, "4.2.4", "This list's members cannot be read; try again later", "RCPT", "RFC 3463 section 3.3, X.2.4")
QUEUE_DOWN_451 = _reply(451, "4.4.1", "The queue does not answer; try again later", "the final dot", "RFC 3463 section 3.5, X.4.1")
BUSY_452 = _reply(452, "4.3.1", "Too much mail at once; try again later", "MAIL, RCPT, the final dot", "RFC 3463 section 3.4, X.3.1")
FULL_452 = _reply(452, "4.3.1", "No room to keep it; try again later", "the final dot, for this recipient", "RFC 3463 section 3.4, X.3.1")
TOO_MANY_RECIPIENTS_452 = _reply(452, "4.5.3", "Too many recipients", "RCPT", "RFC 5321 section 4.5.3.1.10")

# Client errors
UNKNOWN_COMMAND_500 = _reply(500, "5.5.1", "Unknown command", "anything else", "RFC 5321 section 4.2.4")
NOT_SMTP_500 = _reply(500, "5.5.1", "This is LMTP; say LHLO", "HELO, EHLO", "RFC 2033 section 4.1")
LINE_TOO_LONG_500 = _reply(500, "5.5.2", "Command line too long", "any command", "RFC 5321 section 4.5.3.1.9")
BARE_NEWLINE_500 = _reply(500, "5.5.2", "Bare CR or LF in a command; only CRLF ends a line", "any command", "RFC 5321 section 2.3.8")
NOT_ASCII_500 = _reply(500, "5.5.2", "Octets above 127 need SMTPUTF8", "MAIL, RCPT, VRFY", "RFC 5321 section 2.4")
NOT_UTF8_500 = _reply(500, "5.5.2", "Octets above 127 that are not UTF-8", "MAIL, RCPT, VRFY", "RFC 6531 section 3.3")
ASCII_ONLY_500 = _reply(500, "5.5.2", "This command takes ASCII only", "other commands", "RFC 5321 section 2.4")
NO_COMMAND_500 = _reply(500, "5.5.2", "No command on this line", "an empty line", "RFC 5321 section 4.2.4")
ILLEGAL_CHARACTER_501 = _reply(501, "5.5.2", "Illegal character in the command", "any command", "RFC 5321 section 4.1.2")
NO_ARGUMENT_501 = _reply(501, "5.5.4", "This command takes no argument", "DATA, QUIT, RSET", "RFC 5321 section 4.1.1")
LHLO_SYNTAX_501 = _reply(501, "5.5.4", "Say LHLO and your host name", "LHLO", "RFC 2033 section 4.1")
VRFY_SYNTAX_501 = _reply(501, "5.5.4", "Say VRFY and an address", "VRFY", "RFC 5321 section 4.1.1.6")
MAIL_SYNTAX_501 = _reply(501, "5.5.4", "Say MAIL FROM:<address>", "MAIL", "RFC 5321 section 4.1.1.2")
RCPT_SYNTAX_501 = _reply(501, "5.5.4", "Say RCPT TO:<address>", "RCPT", "RFC 5321 section 4.1.1.3")
BAD_SENDER_501 = _reply(501, "5.1.7", "Bad reverse-path", "MAIL", "RFC 5321 section 4.1.2")
BAD_RECIPIENT_501 = _reply(501, "5.1.3", "Bad forward-path", "RCPT", "RFC 5321 section 4.1.2")
PARAMETER_SYNTAX_501 = _reply(501, "5.5.4", "Bad parameter, or the same one twice", "MAIL, RCPT", "RFC 5321 section 4.1.2")
BDAT_SYNTAX_501 = _reply(501, "5.5.4", "Say BDAT and a number of octets, and LAST with the last", "BDAT", "RFC 3030 section 2")
XFORWARD_SYNTAX_501 = _reply(501, "5.5.4", "Bad attribute, name or value", "XFORWARD", "Postfix XFORWARD_README")
NOT_IMPLEMENTED_502 = _reply(502, "5.5.1", "Not implemented", "a known command", "RFC 5321 section 4.2.4")
NEED_LHLO_503 = _reply(503, "5.5.1", "Say LHLO first", "before LHLO", "RFC 5321 section 4.1.4")
NESTED_MAIL_503 = _reply(503, "5.5.1", "A transaction is open", "MAIL", "RFC 5321 section 4.1.4")
NEED_MAIL_503 = _reply(503, "5.5.1", "Say MAIL first", "RCPT, DATA, BDAT", "RFC 5321 section 3.3")
NEED_RECIPIENT_503 = _reply(503, "5.5.1", "No recipient was accepted", "DATA, BDAT without LAST", "RFC 2033 section 4.2")
NEED_BDAT_503 = _reply(503, "5.5.1", "This message comes with BDAT; go on, or say RSET", "DATA, RCPT", "RFC 3030 sections 2 and 3")
NEED_TLS_530 = _reply(530, "5.7.0", "Say STARTTLS first", "all but NOOP, LHLO, STARTTLS and QUIT", "RFC 3207 section 4")
ALREADY_SECURE_503 = _reply(503, "5.5.1", "This connection is secure already", "STARTTLS", "RFC 3207 section 4.2")
NO_SERVICE_503 = _reply(503, "5.5.1", "No service here; say QUIT", "after a 554 greeting", "RFC 5321 section 3.1")
PIPELINED_TLS_554 = _reply(554, "5.5.1", "No command may follow STARTTLS before TLS", "STARTTLS", "RFC 3207 section 4")
UNKNOWN_PARAMETER_555 = _reply(555, "5.5.4", "Parameter not recognised", "MAIL, RCPT", "RFC 5321 section 4.1.1.11")

# Rejected permanently
DECLARED_TOO_BIG_552 = _reply(552, "5.3.4", "Declared size over the limit", "MAIL", "RFC 1870 section 6.1")
MESSAGE_TOO_BIG_552 = _reply(552, "5.3.4", "Message over the limit", "the final dot", "RFC 1870 section 4")
QUEUE_LIMIT_552 = _reply(552, "5.3.4", "Larger than the queue takes", "the final dot, for this recipient", "RFC 3463 section 3.4, X.3.4")
STRANGER_550 = _reply(550, "5.7.1", "Not from you", "XFORWARD", "Postfix XFORWARD_README")
UNKNOWN_MTA_550 = _reply(550, "5.7.1", "This server takes mail from the MTAs it knows", "LHLO", "RFC 5321 section 4.1.4")
BANNED_550 = _reply(550, "5.7.1", "You may not send to any list here", "MAIL", "RFC 3463 section 3.8, X.7.1")
UNKNOWN_LIST_550 = _reply(550, "5.1.1", "No such list or sub-address", "RCPT, the final dot", "RFC 3463 section 3.2, X.1.1")
RETIRED_550 = _reply(550, "5.2.4", "This list is closed down and takes no posts", "RCPT", "RFC 3463 section 3.3, X.2.4")
BANNED_FROM_LIST_550 = _reply(550, "5.7.1", "You may not post to this list", "RCPT, the final dot", "RFC 3463 section 3.8, X.7.1")
OVER_LIST_LIMIT_552 = _reply(552, "5.2.3", "Larger than this list takes", "RCPT, the final dot", "RFC 3463 section 3.3, X.2.3")
CLOSED_LIST_550 = _reply(550, "5.7.2", "Only members may post to this list", "RCPT, the final dot", "RFC 3463 section 3.8, X.7.2")
MODERATED_550 = _reply(550, "5.7.2", "You may not post to this list at present", "RCPT, the final dot", "RFC 3463 section 3.8, X.7.2")
NULL_SENDER_554 = _reply(554, "5.7.2", "This list takes no posts from <>", "DATA, the final dot", "RFC 3463 section 3.8, X.7.2")
NO_FROM_554 = _reply(554, "5.6.0", "A post has a From", "the final dot", "RFC 5322 section 3.6; RFC 3463 section 3.7, X.6.0")
OWN_LIST_554 = _reply(554, "5.4.0", "This message has been through this list", "the final dot", "RFC 2919 section 3, RFC 2369 section 3.4")
ASCII_SENDERS_550 = _reply(550, "5.6.7", "Mailman takes ASCII addresses only", "MAIL, with Mailman's lists", "RFC 6531 section 3.5")
DEFECTIVE_554 = _reply(554, "5.6.0", "The message has defects", "the final dot, with Mailman's lists", "RFC 3463 section 3.7, X.6.0")
RULES_REJECT_550 = _reply(550, "5.7.2", "This list rejects your post", "the final dot, with Mailman's lists", "RFC 3463 section 3.8, X.7.2")
TOO_MANY_HOPS_554 = _reply(554, "5.4.0", "More than 100 Received fields", "the final dot", "RFC 5321 section 6.3")

CATALOGUE = tuple(CatalogueEntry(name, reply, *_origins[reply]) for name, reply in list(vars().items()) if isinstance(reply, Reply))
