"""The configuration file of a server."""

from __future__ import annotations

from lmtpref.config.loader import CAST, Configuration, cast, load

__all__ = ["CAST", "Configuration", "cast", "load"]
