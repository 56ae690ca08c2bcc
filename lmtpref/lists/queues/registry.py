"""The registry of queue engines by URL scheme; other packages add engines by entry point."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points

from lmtpref.lists.queues.interface import LEASE_SECONDS, MAX_PREFETCH, PREFETCH, QueueEngine, QueueOptions, Queues, Source, Store
from lmtpref.lists.queues.url import masked, resolve, scheme_of
from lmtpref.protocol.errors import UsageError

GROUP = "lmtpref.queues"

# The built-in engines: the module of each, and the extra that it needs.  A module is imported only when a URL names it.
BUILT_IN = {
    "memory": ("lmtpref.lists.queues.memory_engine", ""),
    "maildir": ("lmtpref.lists.queues.spool_engine", ""),
    "sqlite": ("lmtpref.lists.queues.sql.engine", "sql"),
    "postgresql": ("lmtpref.lists.queues.sql.engine", "sql"),
    "amqp": ("lmtpref.lists.queues.amqp.engine", "amqp"),
    "amqps": ("lmtpref.lists.queues.amqp.engine", "amqp"),
}

# The built-in engines whose scheme may name a driver of SQLAlchemy after a +.
HAVE_DRIVERS = frozenset({"sqlite", "postgresql"})

# The engines that store held and discarded messages beside the others, and need no other engine for them.
KEEP_HELD = frozenset({"memory", "maildir", "sqlite", "postgresql"})


def engine_for(url: str) -> QueueEngine:
    """Return the engine of a URL.

    Raises UsageError: if the scheme has no engine, or a package that it needs is not installed.
    """
    scheme = scheme_of(url)
    if scheme in BUILT_IN:
        if scheme not in HAVE_DRIVERS and not url.startswith(f"{scheme}:"):
            raise UsageError(f"{masked(url)}: {scheme} has no drivers")
        return _built_in(*BUILT_IN[scheme])
    for found in entry_points(group=GROUP, name=scheme):
        try:
            engine = found.load()
        except (Exception, SystemExit) as error:
            raise UsageError(f"{scheme}: the engine {found.value} cannot be imported: {type(error).__name__}: {error}") from error
        if not isinstance(engine, QueueEngine):
            raise UsageError(f"{found.value} is not a QueueEngine")
        return engine
    raise UsageError(f"{masked(url)}: no queue engine for {scheme!r}; there are {', '.join(schemes())}")


def schemes() -> list[str]:
    """Return the URL schemes that have an engine."""
    return sorted({*BUILT_IN, *(found.name for found in entry_points(group=GROUP))})


def open_queues(url: str, options: QueueOptions | None = None) -> Queues:
    """Return the queues at `url`, which may be env:NAME; `await queues.open()` connects to the engine.

    Raises UsageError: if the URL is invalid, or an option is not for this engine.
    """
    url = resolve(url)
    options = options or QueueOptions()
    if options.held is not None and scheme_of(url) in KEEP_HELD:
        raise UsageError(f"{masked(url)}: `held` is for amqp; this engine stores held messages itself")
    return engine_for(url).queues(url, options)


def open_store(url: str) -> Store:
    """Return the store at `url`, for administrators.

    Raises UsageError: if the URL is invalid.
    Raises QueueUnreachableError: if the engine does not answer.
    """
    url = resolve(url)
    if (store := engine_for(url).store) is None:
        raise UsageError(f"{masked(url)}: this engine has no store, which lists and edits entries")
    return store(url)


def open_source(url: str, queue: str, *, lease_seconds: float = LEASE_SECONDS, prefetch: int = PREFETCH) -> Source:
    """Return one queue at `url`, for one consumer.

    Raises UsageError: if the URL or the queue is invalid.
    Raises QueueUnreachableError: if the engine does not answer.
    """
    url = resolve(url)
    if not lease_seconds > 0 or not 1 <= prefetch <= MAX_PREFETCH:
        raise UsageError(f"lease_seconds must be above 0, and prefetch between 1 and {MAX_PREFETCH}")
    if (source := engine_for(url).source) is None:
        raise UsageError(f"{masked(url)}: this engine has no source for consumers")
    return source(url, queue, lease_seconds, prefetch)


def _built_in(module: str, extra: str) -> QueueEngine:
    try:
        engine: QueueEngine = import_module(module).ENGINE
    except ModuleNotFoundError as error:
        if not extra:
            raise
        raise UsageError(f"these queues need {error.name}; pip install 'lmtpref[{extra}]' installs it") from None
    return engine
