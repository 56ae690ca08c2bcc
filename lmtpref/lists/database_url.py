"""URLs of databases, as SQLAlchemy reads them."""

from __future__ import annotations

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from lmtpref.lists.queues.url import masked
from lmtpref.protocol.errors import UsageError


def parse_database_url(url: str | URL) -> URL:
    """Return the parts of a URL.

    Raises UsageError: if the URL is invalid; the message does not contain the password.
    """
    name = masked(str(url))
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise UsageError(f"not the URL of a database: {name}") from None
    except ValueError:
        raise UsageError(f"{name}: the port is not a number") from None
    if "@" in (parsed.host or ""):
        # SQLAlchemy ends the password at the first @, so the rest of it would be the host's name in messages.
        raise UsageError(f"{name}: in a password, %40 stands for @")
    return parsed
