"""Files and groups that a configuration names, such as a certificate, on the machine that serves it."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from lmtpref.protocol.errors import ConfigurationError

# OpenSSL's reason for a key that does not belong to the certificate.
_NOT_ITS_KEY = frozenset({"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"})


class Named(NamedTuple):
    """A name, and its place in the configuration."""

    name: str
    config: Path
    line: int | None
    key: str

    @property
    def path(self) -> Path:
        """The file of that name, relative to the configuration."""
        return self.config.parent / self.name

    def error(self, problem: str) -> ConfigurationError:
        """Return the error that names file, line and key."""
        return ConfigurationError(problem, file=self.config, line=self.line, key=self.key)


def tls_context(certificate: Named, key: Named, client_ca: Named | None = None) -> ssl.SSLContext:
    """Return the TLS context for STARTTLS, from the current files; a client may present a certificate of `client_ca`.

    Raises ConfigurationError: if a file cannot be used.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    with _naming_file(certificate, "holds no certificate"):
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(certificate.path)
    with _naming_file(key, "holds no private key"):
        context.load_cert_chain(certificate.path, key.path, password=lambda: _refuse_password(key))
    if client_ca:
        with _naming_file(client_ca, "holds no certificate"):
            context.load_verify_locations(client_ca.path)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def group_name(group: Named) -> str:
    """Return the name of the group.  Raises ConfigurationError if it does not exist."""
    try:
        import grp  # noqa: PLC0415 - only Unix has it

        return grp.getgrnam(group.name).gr_name
    except (ImportError, KeyError, ValueError):  # ValueError: the name contains a NUL
        raise group.error(f"there is no group {group.name!r}") from None


@contextlib.contextmanager
def _naming_file(named: Named, otherwise: str) -> Iterator[None]:
    """Convert errors in the block to ConfigurationError that names this file."""
    try:
        yield
    except ConfigurationError:
        raise
    except ssl.SSLError as error:
        openssl_reason = f" ({error.reason})" if error.reason else ""
        problem = "is not the key of that certificate" if error.reason in _NOT_ITS_KEY else otherwise + openssl_reason
        raise named.error(f"{named.path}: {problem}") from None
    except (OSError, ValueError) as error:  # ValueError: not a valid path
        raise named.error(f"{named.path}: cannot be read: {error.strerror if isinstance(error, OSError) else error}") from None


def _refuse_password(key: Named) -> str:
    """Raise an error, because no user is present to enter the password."""
    raise key.error(f"{key.path}: is protected by a password")
