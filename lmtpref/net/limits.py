"""What one server bears."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one server bears, each with what is done beyond it and why it is as it is.  None is answered with a 5xx."""

    max_connections: int = 12_000  # at once; beyond: 421 4.3.2; source: below it, 20,000 open files have room for a spool
    idle_seconds: float = 300.0  # without a whole command or an octet of a message; beyond: 421 4.4.2; source: RFC 5321 section 4.5.3.2.7
    transaction_seconds: float = 3600.0  # of the client's time for one transaction; beyond: 421 4.4.2; source: 10 MiB at 3 KiB a second
    hook_seconds: float = 600.0  # for a hook that waits; beyond: 451 4.3.0; source: no client waits longer, RFC 5321 section 4.5.3.2.6
    max_buffered_octets: int = 268_435_456  # of all messages under way; beyond: 452 4.3.1; source: 25 messages of 10 MiB
