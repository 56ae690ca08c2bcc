"""The options `--log-json` and `--log-key` of `lmtpref serve`: a line of JSON for each transaction, and for each other log record."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from lmtpref.cli.arguments import path_name
from lmtpref.journal import MAX_KEY_OCTETS, JsonFormatter, JsonJournal
from lmtpref.protocol.errors import UsageError


def add_to(serve: argparse.ArgumentParser) -> None:
    """Add the options to `serve`."""
    serve.add_argument("--log-json", action="store_true", help="log a line of JSON for each transaction, on standard error")
    serve.add_argument(
        "--log-key", type=path_name, metavar="FILE", help="with --log-json: write a hash instead of each address, with the key in FILE"
    )


def journal_for(options: argparse.Namespace) -> JsonJournal | None:
    """Return the journal that the options request; None without one.  Raises UsageError if the key cannot be read."""
    if not options.log_json:
        if options.log_key:
            raise UsageError("--log-key needs --log-json")
        return None
    for handler in logging.getLogger().handlers:
        handler.setFormatter(JsonFormatter())
    return JsonJournal(lambda line: print(line, file=sys.stderr, flush=True), _read_key(options.log_key) if options.log_key else None)


def _read_key(path: str) -> bytes:
    try:
        key = Path(path).read_bytes().strip()
    except OSError as error:
        raise UsageError(f"--log-key: {path}: {error.strerror}") from error
    if not 0 < len(key) <= MAX_KEY_OCTETS:
        raise UsageError(f"--log-key: {path}: a key has 1 to {MAX_KEY_OCTETS} octets")
    return key
