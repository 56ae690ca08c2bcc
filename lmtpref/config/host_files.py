"""What a configuration names and does not hold, a certificate or a group: looked for on the machine that serves it."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from lmtpref.protocol.errors import ConfigurationError

# What OpenSSL says of a key that is not the certificate's
_NOT_ITS_KEY = frozenset({"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"})


class Named(NamedTuple):
    """A name, and where the configuration says it."""

    name: str
    config: Path
    line: int | None
    key: str

    @property
    def path(self) -> Path:
        """The file of that name, beside the configuration."""
        return self.config.parent / self.name

    def error(self, problem: str) -> ConfigurationError:
        """Return the error that names file, line and key."""
        return ConfigurationError(problem, file=self.config, line=self.line, key=self.key)


def tls_context(certificate: Named, key: Named, client_ca: Named | None = None) -> ssl.SSLContext:
    """Return what STARTTLS needs, from the files as they are now; a client may present a certificate of `client_ca`.

    Raises ConfigurationError: if a file is of no use.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    with _blaming(certificate, "holds no certificate"):
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(certificate.path)
    with _blaming(key, "holds no private key"):
        context.load_cert_chain(certificate.path, key.path, password=lambda: _refuse_password(key))
    if client_ca:
        with _blaming(client_ca, "holds no certificate"):
            context.load_verify_locations(client_ca.path)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def group_name(group: Named) -> str:
    """Return the name of the group.  Raises ConfigurationError if there is none of that name."""
    try:
        import grp  # noqa: PLC0415 - Unix alone has it

        return grp.getgrnam(group.name).gr_name
    except (ImportError, KeyError, ValueError):  # a NUL is in no name
        raise group.error(f"there is no group {group.name!r}") from None


@contextlib.contextmanager
def _blaming(named: Named, otherwise: str) -> Iterator[None]:
    """Say of what goes wrong that it is because of this file."""
    try:
        yield
    except ConfigurationError:
        raise
    except ssl.SSLError as error:
        openssls_word = f" ({error.reason})" if error.reason else ""
        problem = "is not the key of that certificate" if error.reason in _NOT_ITS_KEY else otherwise + openssls_word
        raise named.error(f"{named.path}: {problem}") from None
    except (OSError, ValueError) as error:  # a path may be none at all
        raise named.error(f"{named.path}: cannot be read: {error.strerror if isinstance(error, OSError) else error}") from None


def _refuse_password(key: Named) -> str:
    """Nobody is there to be asked for it."""
    raise key.error(f"{key.path}: is protected by a password")
