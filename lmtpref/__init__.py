"""The reference for LMTP (RFC 2033), and for how a mailing-list server accepts or rejects a post.

`protocol` reads commands and replies to them, without sockets; the wordings are in `protocol.catalogue`.
`net` reads and writes the octets: `net.connection` those of a server, `net.client` those of a client.
`lists` has the lists, the rules of acceptance in `lists.policy`, and in `lists.queues` the queues: the spool and other engines.
`check` is the conformance suite for other servers, `cli` the command line, `config` the configuration file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmtpref.lazy import lazy_names

if TYPE_CHECKING:
    from lmtpref.journal import Journal as Journal
    from lmtpref.journal import JsonFormatter as JsonFormatter
    from lmtpref.journal import JsonJournal as JsonJournal
    from lmtpref.lists import ListHandler as ListHandler
    from lmtpref.lists import Mailboxes as Mailboxes
    from lmtpref.lists import MaildirQueues as MaildirQueues
    from lmtpref.lists import MailingList as MailingList
    from lmtpref.lists import MemoryDirectory as MemoryDirectory
    from lmtpref.lists import MemoryQueues as MemoryQueues
    from lmtpref.lists import show as show
    from lmtpref.net.aiosmtpd.controller import Controller as Controller
    from lmtpref.net.aiosmtpd.controller import UnixSocketController as UnixSocketController
    from lmtpref.net.aiosmtpd.handler import AiosmtpdHandler as AiosmtpdHandler
    from lmtpref.net.client.asyncio import AsyncClient as AsyncClient
    from lmtpref.net.client.sync import Client as Client
    from lmtpref.net.listeners import Listener as Listener
    from lmtpref.net.transaction_record import TransactionRecord as TransactionRecord
    from lmtpref.protocol.client.delivery import Outcome as Outcome
    from lmtpref.protocol.errors import ConfigurationError as ConfigurationError
    from lmtpref.protocol.errors import HandlerWarning as HandlerWarning
    from lmtpref.protocol.errors import LmtpError as LmtpError
    from lmtpref.protocol.errors import NotArrivedError as NotArrivedError
    from lmtpref.protocol.errors import TranscriptError as TranscriptError
    from lmtpref.protocol.errors import UsageError as UsageError
    from lmtpref.protocol.handler import AcceptAll as AcceptAll
    from lmtpref.protocol.handler import Envelope as Envelope
    from lmtpref.protocol.handler import Handler as Handler
    from lmtpref.protocol.handler import Peer as Peer
    from lmtpref.protocol.handler import Recipient as Recipient
    from lmtpref.protocol.peer_error import PeerError as PeerError
    from lmtpref.protocol.replies import EnhancedCode as EnhancedCode
    from lmtpref.protocol.replies import Reply as Reply
    from lmtpref.protocol.server_limits import Limits as Limits
    from lmtpref.protocol.settings import Settings as Settings
    from lmtpref.server import Server as Server

__version__ = "0.1.0"

# Each name and its module, which is imported at the first use of the name, to keep other imports fast.
_HOMES = {
    # The server and its settings
    "Server": "server",
    "Settings": "protocol.settings",
    "Limits": "protocol.server_limits",
    "Listener": "net.listeners",
    # The journal: a record of each transaction
    "Journal": "journal",
    "JsonJournal": "journal",
    "JsonFormatter": "journal",
    "TransactionRecord": "net.transaction_record",
    # The client, and the outcome of each recipient
    "Client": "net.client.sync",
    "AsyncClient": "net.client.asyncio",
    "Outcome": "protocol.client.delivery",
    # Handlers: your own Handler, lists, mailboxes that accept everything, or a handler written for aiosmtpd
    "Handler": "protocol.handler",
    "AcceptAll": "protocol.handler",
    "Peer": "protocol.handler",
    "Envelope": "protocol.handler",
    "Recipient": "protocol.handler",
    "Reply": "protocol.replies",
    "EnhancedCode": "protocol.replies",
    "ListHandler": "lists",
    "Mailboxes": "lists",
    "AiosmtpdHandler": "net.aiosmtpd.handler",
    "Controller": "net.aiosmtpd.controller",
    "UnixSocketController": "net.aiosmtpd.controller",
    # Mailing lists
    "MailingList": "lists",
    "MemoryDirectory": "lists",
    "MemoryQueues": "lists",
    "MaildirQueues": "lists",
    "show": "lists",
    # Errors
    "LmtpError": "protocol.errors",
    "PeerError": "protocol.peer_error",
    "UsageError": "protocol.errors",
    "ConfigurationError": "protocol.errors",
    "TranscriptError": "protocol.errors",
    "NotArrivedError": "protocol.errors",
    "HandlerWarning": "protocol.errors",
}

__all__ = list(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
