"""The limits of one server."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lmtpref.protocol.errors import UsageError
from lmtpref.protocol.extensions import MAX_COMMAND_LINE_OCTETS
from lmtpref.protocol.framing import content_room
from lmtpref.protocol.settings import Settings
from lmtpref.protocol.transaction import ADDRESS_OCTETS, COPIES_OF_AN_ADDRESS

# Per read, into one buffer for all connections, because allocating room for each read costs more than a command.
MAX_READ_OCTETS = 262_144
# The size of an address that is counted only after it was added, with the widest characters.
_ADDRESS_OCTETS = ADDRESS_OCTETS + COPIES_OF_AN_ADDRESS * 4 * MAX_COMMAND_LINE_OCTETS
# The size of an address of 254 octets, the most that RFC 5321 section 4.5.3.1.3 asks of every server.
# Such a string takes 303 octets in Python 3.11, and fewer in later versions.
_PATH_OCTETS = ADDRESS_OCTETS + COPIES_OF_AN_ADDRESS * 303


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of one server, each with the reply beyond it and its source.  No limit leads to a 5xx."""

    max_connections: int = 12_000  # at once; beyond: 421 4.3.2; source: below it, 20,000 open files have room for a spool
    max_peer_connections: int = 50  # at once from one address that is not of a known MTA; beyond: 421 4.7.0; source: Postfix 3's default
    idle_seconds: float = 300.0  # without a whole command or an octet of a message; beyond: 421 4.4.2; source: RFC 5321 section 4.5.3.2.7
    transaction_seconds: float = 3600.0  # of the client's time for one transaction; beyond: 421 4.4.2; source: 10 MiB at 3 KiB a second
    no_message_seconds: float = 7200.0  # of the client's time without a message; beyond: 421 4.4.2; source: twice transaction_seconds
    hook_seconds: float = 600.0  # for a hook that waits; beyond: 451 4.3.0; source: no client waits longer, RFC 5321 section 4.5.3.2.6
    max_buffered_octets: int = 268_435_456  # of all transactions under way; beyond: 452 4.3.1; source: 25 messages of 10 MiB

    def shared_among(self, servers: int) -> Limits:
        """Return an equal share of the counts for each of `servers`; the times are the same for all."""
        return replace(
            self,
            max_connections=max(1, self.max_connections // servers),
            max_peer_connections=max(1, self.max_peer_connections // servers),
            max_buffered_octets=self.max_buffered_octets // servers,
        )

    def envelope_room(self, settings: Settings) -> int:
        """Return how many octets one transaction may keep before its message, so that the largest message still has room."""
        return self.max_buffered_octets - content_room(settings.max_message_octets) - MAX_READ_OCTETS - _ADDRESS_OCTETS

    def check(self, settings: Settings) -> None:
        """Check that the server can take the largest message for as many recipients as `settings` offers.  Raises UsageError if not."""
        envelope_octets = (1 + settings.max_recipients) * _PATH_OCTETS
        if (missing := envelope_octets - self.envelope_room(settings)) > 0:
            raise UsageError(
                f"max_buffered_octets must be at least {self.max_buffered_octets + missing}, so that one message of "
                f"max_message_octets = {settings.max_message_octets} for max_recipients = {settings.max_recipients} has room"
            )
