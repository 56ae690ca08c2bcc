"""Open files: the limit of this process, and the number of connections that fit into it."""

from __future__ import annotations

from dataclasses import replace

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

from lmtpref.cli.terminal import report
from lmtpref.config.configuration import Configuration
from lmtpref.protocol.errors import UsageError

# For listeners, the spool, a database, and the connections beyond a limit that wait for their 421.
RESERVED_FILES = 256


def raise_limit() -> int | None:
    """Raise the limit of open files as far as the system allows; return the limit, or None without one."""
    if resource is None:
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return None if hard == resource.RLIM_INFINITY else hard


def share_of(configuration: Configuration, workers: int) -> Configuration:
    """Return `configuration` with each worker's share of its limits, as far as open files allow.

    Raises UsageError if a share has no room for one message, or for one connection.
    """
    if workers > 1:
        configuration = replace(configuration, limits=configuration.limits.shared_among(workers))
        try:
            configuration.limits.check(configuration.settings)
        except UsageError as error:
            raise UsageError(f"each of {workers} workers has an equal part of max_buffered_octets: {error}") from None
    return fit_connections(configuration)


def fit_connections(configuration: Configuration) -> Configuration:
    """Return `configuration` with no more connections than open files allow; report a reduction.

    Raises UsageError if no connection is possible.
    """
    limits = configuration.limits
    possible = possible_connections(limits.max_connections, "max_connections")
    return replace(configuration, limits=replace(limits, max_connections=possible))


def possible_connections(wanted: int, name: str) -> int:
    """Return how many connections open files allow, at most `wanted`; report a reduction of the limit called `name`.

    Raises UsageError if no connection is possible.
    """
    files = raise_limit()
    if files is None or wanted <= files - RESERVED_FILES:
        return wanted
    if files <= RESERVED_FILES:
        raise UsageError(f"this process may open {files} files (RLIMIT_NOFILE); it needs more than {RESERVED_FILES}")
    possible = files - RESERVED_FILES
    report(f"{name} is {possible}, not {wanted}: this process may open {files} files (RLIMIT_NOFILE)")
    return possible
