"""URLs of queues: where they come from, and how they are shown without their passwords."""

from __future__ import annotations

import os
import re
from pathlib import Path

from lmtpref.protocol.errors import UsageError

ENVIRONMENT = "env:"  # env:NAME stands for the URL in the environment variable NAME

_USERINFO = re.compile(r"(?<=://)([^/@:]*):[^/]*@")
_PARAMETER = re.compile(r"(?i)([?&][^=&]*(?:password|passfile|secret|token)[^=&]*=)[^&]*")


_FILES = ("sqlite:///", "maildir:")  # what a relative path may follow


def is_variable(url: str) -> bool:
    """Return whether `url` is env:NAME, the name of a variable that holds the URL."""
    return url.startswith(ENVIRONMENT)


def beside(folder: Path, url: str) -> str:
    """Return `url`, with the path of its file, if it is relative and names one, as from `folder`."""
    for prefix in _FILES:
        if url.startswith(prefix) and not url.startswith("/", len(prefix)):
            return f"{prefix}{folder.absolute() / url.removeprefix(prefix)}"
    return url


def resolve(url: str) -> str:
    """Return `url`, or the URL in the environment variable that it names as env:NAME.  Raises UsageError."""
    if not is_variable(url):
        return url
    name = url.removeprefix(ENVIRONMENT)
    if not (found := os.environ.get(name)):
        raise UsageError(f"the environment variable {name} is not set")
    return found


def masked(url: str) -> str:
    """Return `url` with *** in the place of every password, for messages and logs."""
    return _PARAMETER.sub(r"\1***", _USERINFO.sub(r"\1:***@", url))


def scheme_of(url: str) -> str:
    """Return the scheme without its driver: `postgresql` for postgresql+psycopg://….  Raises UsageError if there is none."""
    scheme, colon, _ = url.partition(":")
    if not colon or not re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme):
        raise UsageError(f"not the URL of queues: {masked(url)!r}")
    return scheme.partition("+")[0]
