"""The reference for LMTP (RFC 2033), and for how a mailing-list server accepts or refuses a post."""

from __future__ import annotations

from lmtpref.lists import ListHandler, Mailboxes, MailingList, MemoryDirectory, MemoryQueues, show
from lmtpref.net.aiosmtpd import AiosmtpdHandler
from lmtpref.net.connection import Limits
from lmtpref.net.controller import Controller, UnixSocketController
from lmtpref.protocol.errors import ConfigurationError, LmtpError, PeerError, TranscriptError, UsageError
from lmtpref.protocol.handler import Envelope, Handler, Peer, Recipient
from lmtpref.protocol.replies import EnhancedCode, Reply
from lmtpref.protocol.settings import Settings
from lmtpref.reference import Server

__version__ = "0.1.0"

__all__ = [
    # the server, and what it is told
    "Server",
    "Settings",
    "Limits",
    # what answers it: your own Handler, lists, mailboxes that take everything, or a handler written for aiosmtpd
    "Handler",
    "Peer",
    "Envelope",
    "Recipient",
    "Reply",
    "EnhancedCode",
    "ListHandler",
    "Mailboxes",
    "AiosmtpdHandler",
    "Controller",
    "UnixSocketController",
    # mailing lists
    "MailingList",
    "MemoryDirectory",
    "MemoryQueues",
    "show",
    # what can go wrong
    "LmtpError",
    "PeerError",
    "UsageError",
    "ConfigurationError",
    "TranscriptError",
]
