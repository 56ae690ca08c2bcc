"""Open files: how many this process may have, and how many connections that is enough for."""

from __future__ import annotations

from dataclasses import replace

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

from lmtpref.cli.terminal import report
from lmtpref.config.loader import Configuration
from lmtpref.protocol.errors import UsageError

RESERVED_FILES = 256  # for listeners, the spool, a database, and clients that are being told that there are too many


def raise_limit() -> int | None:
    """Let this process open as many files as the system allows it; return how many, or None where that is not limited."""
    if resource is None:
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return None if hard == resource.RLIM_INFINITY else hard


def share_of(configuration: Configuration, workers: int) -> Configuration:
    """Return `configuration` with the part of its limits that each of `workers` has, as far as open files allow.

    Raises UsageError if a part has no room for one message, or there can be no connection.
    """
    if workers > 1:
        configuration = replace(configuration, limits=configuration.limits.shared_among(workers))
        try:
            configuration.limits.check(configuration.settings)
        except UsageError as error:
            raise UsageError(f"each of {workers} workers has an equal part of max_buffered_octets: {error}") from None
    return fit_connections(configuration)


def fit_connections(configuration: Configuration) -> Configuration:
    """Return `configuration` with no more connections than there can be open files, and report if they had to be fewer.

    Raises UsageError if there can be none.
    """
    files, wanted = raise_limit(), configuration.limits.max_connections
    if files is None or wanted <= files - RESERVED_FILES:
        return configuration
    if files <= RESERVED_FILES:
        raise UsageError(f"this process may open {files} files (RLIMIT_NOFILE); it needs more than {RESERVED_FILES}")
    possible = files - RESERVED_FILES
    report(f"max_connections is {possible}, not {wanted}: this process may open {files} files (RLIMIT_NOFILE)")
    return replace(configuration, limits=replace(configuration.limits, max_connections=possible))
