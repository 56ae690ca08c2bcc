"""The runner's own configuration file in TOML, named by `[plugin.lmtpref] configuration`."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from lmtpref.config.host_files import Named, tls_context
from lmtpref.config.keys import KEYS, SECONDS, Kind
from lmtpref.config.toml import line_of, read_toml
from lmtpref.net.own_names import server_name
from lmtpref.protocol.errors import ConfigurationError, UsageError
from lmtpref.protocol.server_limits import Limits
from lmtpref.protocol.settings import Settings

# Mailman's own runner accepts messages of this size, in octets.
MAX_MESSAGE_OCTETS = 33_554_432
LOOKUP_SECONDS = 4.0

_SETTINGS = {field.name for field in fields(Settings)} - {"starttls"}
_LIMITS = {field.name for field in fields(Limits)}
_TLS = {"tls_certificate", "tls_key"}
_SERVER_KEYS = _SETTINGS | _LIMITS | _TLS | {"known_mtas", "allow_remote"}

KINDS: Mapping[str, Mapping[str, Kind]] = {
    "server": {key.name: key.kind for key in KEYS if key.table == "server" and key.name in _SERVER_KEYS},
    "mailman": {
        "judge": Kind.one_of("foresee", "envelope"),
        "discard": Kind.one_of("accept", "reject"),
        "lookup_seconds": SECONDS,
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerSettings:
    """The settings of the runner; these are the values of absent keys.

    `judge` says when posts are judged: at the end of data by Mailman's own chain, or at RCPT by the envelope sender.
    `discard` says whether a post that Mailman would discard is accepted or rejected.  `lookup_seconds` limits the time of
    Mailman's database or disk for one answer; after it the reply is 451.
    """

    judge: Literal["foresee", "envelope"] = "foresee"
    discard: Literal["accept", "reject"] = "accept"
    lookup_seconds: float = LOOKUP_SECONDS
    known_mtas: tuple[str, ...] | None = None
    allow_remote: bool = False
    tls: ssl.SSLContext | None = None
    settings: Settings = field(default_factory=lambda: _settings({}))
    limits: Limits = field(default_factory=Limits)


def load(path: Path | None) -> RunnerSettings:
    """Return the settings in the file `path`; the default values if it is None.

    Raises ConfigurationError: if the file cannot be read or is wrong, with file, line and key.
    """
    return _File(path).settings() if path else RunnerSettings()


def _settings(values: Mapping[str, Any]) -> Settings:
    """Return the settings of the server; for keys that `values` lacks, it is as lenient as Mailman's own runner."""
    return Settings(**{"hostname": server_name(), "max_message_octets": MAX_MESSAGE_OCTETS, "bare_newlines": "keep", **values})


class _File:
    """The parser of a configuration file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._text, self._data = read_toml(path)

    def settings(self) -> RunnerSettings:
        """Return the settings in the file."""
        for name, table in self._data.items():
            self._check(name, table)
        server, own = self._data.get("server", {}), self._data.get("mailman", {})
        settings = _settings({key: server[key] for key in _SETTINGS & server.keys()})
        limits = Limits(**{key: server[key] for key in _LIMITS & server.keys()})
        try:
            limits.check(settings)
        except UsageError as error:
            raise self._error(str(error), "server", "max_buffered_octets") from None
        known = server.get("known_mtas")
        return RunnerSettings(
            known_mtas=None if known is None else tuple(known),
            allow_remote=server.get("allow_remote", False),
            tls=self._tls(server),
            settings=settings,
            limits=limits,
            **own,
        )

    def _check(self, name: str, table: object) -> None:
        """Check that `table` is known, and its keys and values are valid.  Raises ConfigurationError if not."""
        if name not in KINDS:
            raise self._error("unknown table or key", None, name)
        if not isinstance(table, dict):
            raise self._error(f"a table is needed: [{name}]", None, name)
        for key, value in table.items():
            kind = KINDS[name].get(key)
            if kind is None:
                raise self._error(f"unknown key in [{name}]", name, key)
            if not kind.fits(value):
                raise self._error(f"must be {kind.words}, not {value!r}", name, key)

    def _tls(self, server: Mapping[str, Any]) -> ssl.SSLContext | None:
        if not (given := _TLS & server.keys()):
            return None
        for missing in _TLS - given:
            raise self._error(f"needs {missing} too", "server", given.pop())
        certificate, key = (
            Named(server[name], self._path, line_of(self._text, "server", name), name) for name in ("tls_certificate", "tls_key")
        )
        return tls_context(certificate, key)

    def _error(self, problem: str, table: str | None, key: str) -> ConfigurationError:
        return ConfigurationError(problem, file=self._path, line=line_of(self._text, table, key), key=key)
