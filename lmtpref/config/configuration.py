"""A configuration as a value, and the handler, the queues and the TLS context that it describes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as attribute
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lmtpref.config.host_files import Named, group_name, tls_context
from lmtpref.lists.directory.memory import MemoryDirectory
from lmtpref.lists.handler import DIRECTORY_SECONDS, ListHandler
from lmtpref.lists.mailinglist import ListDirectory
from lmtpref.lists.policy.default import DEFAULT_POLICY, Policy
from lmtpref.lists.queues.interface import EntrySink, QueueOptions, Queues
from lmtpref.lists.queues.registry import open_queues
from lmtpref.protocol.server_limits import Limits
from lmtpref.protocol.settings import Settings

if TYPE_CHECKING:
    import ssl


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """The content of a configuration file.

    `known_mtas` holds networks and host names; None stands for loopback only.
    """

    listen: tuple[str, ...] = ("127.0.0.1:8024",)
    listeners: tuple[Mapping[str, Any], ...] = ()  # [[server.listener]]
    site_owner: str = ""
    known_mtas: tuple[str, ...] | None = None
    allow_remote: bool = False
    workers: int = 1  # processes, each with an equal share of `limits`
    unix_group: Named | None = None
    tls_certificate: Named | None = None
    tls_key: Named | None = None
    tls_client_ca: Named | None = None
    banned_senders: tuple[str, ...] = ()
    reject_banned_at: Literal["mail", "rcpt"] = "mail"
    normalise: tuple[Literal["batv"], ...] = ()
    subaddresses: bool = False
    trusted_authserv_id: str | None = None
    trusted_arc_sealers: tuple[str, ...] = ()
    directory_seconds: float = DIRECTORY_SECONDS
    rules: Policy = ()
    maildir: Path | None = None  # the spool; without one, messages are kept in memory
    queues_url: str | None = None  # of an engine other than a spool
    queue_options: QueueOptions = attribute(default_factory=QueueOptions)
    maps: Mapping[str, Any] = attribute(default_factory=dict)  # [maps], for `lmtpref maps`
    settings: Settings = attribute(default_factory=Settings)
    limits: Limits = attribute(default_factory=Limits)
    directory: ListDirectory = attribute(default_factory=MemoryDirectory)

    def handler(self, queues: EntrySink) -> ListHandler:
        """Return the handler for these lists, which puts accepted messages into `queues`."""
        handler = ListHandler(
            self.directory,
            queues,
            hostname=self.settings.hostname,
            site_owner=self.site_owner,
            banned_senders=self.banned_senders,
            reject_banned_at=self.reject_banned_at,
            normalise=self.normalise,
            subaddresses=self.subaddresses,
            trusted_authserv_id=self.trusted_authserv_id,
            trusted_arc_sealers=self.trusted_arc_sealers,
            directory_seconds=self.directory_seconds,
            policy=(*self.rules, *DEFAULT_POLICY),
        )
        if isinstance(self.directory, MemoryDirectory):
            self.directory.persons.prepare(handler.banned_senders.addresses.normaliser)
        return handler

    def queues(self) -> Queues:
        """Return the queues of the configuration, not yet opened.  Raises UsageError."""
        url = "memory:" if self.queues_url is None else self.queues_url
        return open_queues(f"maildir:{self.maildir}" if self.maildir else url, self.queue_options)

    def tls(self) -> ssl.SSLContext | None:
        """Return the TLS context for STARTTLS, from the current files; None without a certificate.  Raises ConfigurationError."""
        return tls_context(self.tls_certificate, self.tls_key, self.tls_client_ca) if self.tls_certificate and self.tls_key else None

    def group(self) -> str | None:
        """Return the group of the Unix sockets; None for the process's own.  Raises ConfigurationError if the group does not exist."""
        return group_name(self.unix_group) if self.unix_group else None

    def close(self) -> None:
        """Release the directory's connections and threads, if any; the next question opens new ones."""
        if close := getattr(self.directory, "close", None):
            close()
