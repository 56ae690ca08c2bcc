"""The trace lines that a server adds above a message (RFC 5321 section 4.4)."""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime

from lmtpref.protocol.domains import ascii_name, u_labels
from lmtpref.protocol.handler import Envelope

# A loose form of Domain and address-literal (RFC 5321 section 4.1.2): text that cannot end the clause or open a comment.
_NAME = re.compile(r"[A-Za-z0-9._-]+|\[[A-Za-z0-9.:-]+\]")


def utc_now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


def trace(envelope: Envelope, *, hostname: str, clock: Callable[[], datetime]) -> bytes:
    """Return the Return-Path and Received lines for `envelope`, each line ending in CRLF, with the time of `clock`.

    The FOR clause names the recipient only if there is exactly one (section 4.4 item 3, section 7.6).
    """
    sender, recipients, peer = envelope.reverse_path, envelope.recipients, envelope.peer
    smtputf8 = bool(envelope.parameters) and envelope.smtputf8
    received = _received(peer.lhlo or "", peer.address, hostname, smtputf8, peer.secure)
    only = f"\r\n\tfor <{recipients[0].path.address}>" if len(recipients) == 1 else ""
    date = _date(int(time.time())) if clock is utc_now else format_datetime(clock().replace(microsecond=0))
    return f"Return-Path: <{sender.address if sender else ''}>\r\n{received}{only}; {date}\r\n".encode()


# The same few MTAs send many messages in the same second.
@functools.lru_cache(maxsize=1)
def _date(second: int) -> str:
    return format_datetime(datetime.fromtimestamp(second, UTC))


@functools.lru_cache(maxsize=128)
def _received(lhlo: str, address: str | None, hostname: str, smtputf8: bool, secure: bool) -> str:  # noqa: FBT001 - parts of the cache's key
    """Return the FROM, BY and WITH clauses (RFC 5321 section 4.4, RFC 3848, RFC 6531 section 4.3)."""
    protocol = f"{'UTF8' if smtputf8 else ''}LMTP{'S' if secure else ''}"
    return f"Received: from {_origin(lhlo, address, smtputf8)}\r\n\tby {_domain(hostname, smtputf8)} with {protocol}"


def _origin(lhlo: str, address: str | None, smtputf8: bool) -> str:  # noqa: FBT001 - as above
    """Return the Extended-Domain: the name from LHLO, and the peer's address in parentheses if it has one."""
    name = _domain(lhlo, smtputf8) if _NAME.fullmatch(lhlo) else "unknown"
    return f"{name} ({_literal(address)})" if address else name


def _domain(name: str, smtputf8: bool) -> str:  # noqa: FBT001 - as above
    """Return `name` with U-labels for an internationalised message (RFC 6531 section 3.7.3), and in ASCII for any other."""
    return u_labels(name) if smtputf8 else ascii_name(name)


def _literal(address: str) -> str:
    """Return `address` as an address-literal, without a zone (RFC 5321 section 4.1.3)."""
    bare, *_ = address.split("%")
    return f"[IPv6:{bare}]" if ":" in bare else f"[{bare}]"
