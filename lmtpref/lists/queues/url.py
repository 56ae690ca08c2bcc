"""URLs of queues: reading them from the environment, and masking their passwords."""

from __future__ import annotations

import os
import re
from pathlib import Path

from lmtpref.protocol.errors import UsageError

# env:NAME stands for the URL in the environment variable NAME.
ENVIRONMENT = "env:"

# A password may hold every character, also / and @, and a mistyped URL may have no `://`; so all from the colon to the last @ is masked.
_USERINFO = re.compile(r"((?>[^:/@]*(?::?//)?)[^:@]*):.*@", re.DOTALL)
_PARAMETER = re.compile(r"(?i)([?&][^=&]*(?:password|passfile|secret|token)[^=&]*=)[^&]*")

_FILE = re.compile(r"sqlite(?:\+[a-z0-9]+)?:///|maildir:(?://)?")  # what a path follows, which may be relative


def is_variable(url: str) -> bool:
    """Return whether `url` has the form env:NAME."""
    return url.startswith(ENVIRONMENT)


def beside(folder: Path, url: str) -> str:
    """Return `url` with an absolute path if it names a file; a relative path starts in `folder`."""
    found = _FILE.match(url)
    # An absolute path replaces the folder.
    return f"{found[0]}{folder.absolute() / url[found.end() :]}" if found and url[found.end() :] else url


def resolve(url: str) -> str:
    """Return `url`, or for env:NAME the URL in that environment variable.

    Raises UsageError: if the variable is not set.
    """
    if not is_variable(url):
        return url
    if not (name := url.removeprefix(ENVIRONMENT)):
        raise UsageError(f"{url} names no environment variable")
    if not (found := os.environ.get(name)):
        raise UsageError(f"the environment variable {name} is not set")
    return found


def masked(url: str) -> str:
    """Return `url` with `***` in place of every password, for messages and logs."""
    shown = url if _FILE.match(url) else _USERINFO.sub(r"\1:***@", url, count=1)
    return _PARAMETER.sub(r"\1***", shown)


def scheme_of(url: str) -> str:
    """Return the scheme of a URL without its driver: `postgresql` for postgresql+psycopg://….

    Raises UsageError: if there is no scheme.
    """
    scheme, colon, _ = url.partition(":")
    if not colon or not re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme):
        raise UsageError(f"not the URL of queues: {masked(url)!r}")
    return scheme.partition("+")[0]
