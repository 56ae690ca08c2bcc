"""The configuration file of a server."""

from __future__ import annotations

from lmtpref.config.configuration import Configuration
from lmtpref.config.loader import CAST, cast, load

__all__ = ["CAST", "Configuration", "cast", "load"]
