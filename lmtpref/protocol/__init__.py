"""RFC 2033 and the RFCs that it builds on: no I/O, no clock, no threads, no lists."""

from __future__ import annotations

from lmtpref.protocol import catalogue
from lmtpref.protocol.catalogue import CATALOGUE, CatalogueEntry
from lmtpref.protocol.client.message import refusal_of
from lmtpref.protocol.client.session import REPLY_SECONDS, Answered, ClientEvent, ClientSession, Closed, Done, MailObject, Outcome
from lmtpref.protocol.commands import Command
from lmtpref.protocol.connection_log import ConnectionFilter
from lmtpref.protocol.domains import a_labels, u_labels
from lmtpref.protocol.errors import (
    ConfigurationError,
    HandlerWarning,
    LmtpError,
    NotArrivedError,
    ReplyError,
    TranscriptError,
    UsageError,
)
from lmtpref.protocol.events import Connect, Data, Deliver, Disconnect, Event, Lhlo, Mail, Message, Rcpt, Reset
from lmtpref.protocol.extensions import (
    BASE_COMMAND_LINE_OCTETS,
    EXTENSIONS,
    MAX_COMMAND_LINE_OCTETS,
    Extension,
    Offer,
    check_mail_parameters,
    greeting,
    lhlo_reply,
)
from lmtpref.protocol.framing import Framer
from lmtpref.protocol.handler import HOOKS, AcceptAll, Answer, Envelope, Handler, Peer, Recipient
from lmtpref.protocol.limits import REGISTERED, announce, parse_limits
from lmtpref.protocol.maybe import Maybe, resolve
from lmtpref.protocol.observer import Observer
from lmtpref.protocol.peer_error import PeerError
from lmtpref.protocol.replies import EnhancedCode, Reply
from lmtpref.protocol.server_limits import MAX_READ_OCTETS, Limits
from lmtpref.protocol.session import Session
from lmtpref.protocol.settings import Settings
from lmtpref.protocol.states import OUT_OF_ORDER, VERBS, State
from lmtpref.protocol.syntax import Parameters, Path, parse_bdat, parse_mail, parse_rcpt, parse_size, split_verb
from lmtpref.protocol.xforward import Origin, parse_xforward

__all__ = [
    "BASE_COMMAND_LINE_OCTETS",
    "CATALOGUE",
    "EXTENSIONS",
    "HOOKS",
    "MAX_COMMAND_LINE_OCTETS",
    "MAX_READ_OCTETS",
    "OUT_OF_ORDER",
    "REGISTERED",
    "REPLY_SECONDS",
    "VERBS",
    "AcceptAll",
    "Answer",
    "Answered",
    "CatalogueEntry",
    "ClientEvent",
    "ClientSession",
    "Closed",
    "Command",
    "ConfigurationError",
    "Connect",
    "ConnectionFilter",
    "Data",
    "Deliver",
    "Disconnect",
    "Done",
    "EnhancedCode",
    "Envelope",
    "Event",
    "Extension",
    "Framer",
    "Handler",
    "HandlerWarning",
    "Lhlo",
    "Limits",
    "LmtpError",
    "Mail",
    "MailObject",
    "Maybe",
    "Message",
    "NotArrivedError",
    "Observer",
    "Offer",
    "Origin",
    "Outcome",
    "Parameters",
    "Path",
    "Peer",
    "PeerError",
    "Rcpt",
    "Recipient",
    "Reply",
    "ReplyError",
    "Reset",
    "Session",
    "Settings",
    "State",
    "TranscriptError",
    "UsageError",
    "a_labels",
    "announce",
    "catalogue",
    "check_mail_parameters",
    "greeting",
    "lhlo_reply",
    "parse_bdat",
    "parse_limits",
    "parse_mail",
    "parse_rcpt",
    "parse_size",
    "parse_xforward",
    "refusal_of",
    "resolve",
    "split_verb",
    "u_labels",
]
