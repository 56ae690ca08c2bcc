"""The settings of a server that its sessions need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lmtpref.protocol.errors import UsageError
from lmtpref.protocol.renamed import current_word
from lmtpref.protocol.syntax import is_hostname


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of a server that its sessions need.  Sizes are in octets, the others are counts.

    Raises UsageError: if `hostname` is not a host name.
    """

    hostname: str = "localhost"  # begins the greeting and LHLO's reply (RFC 5321 section 4.3.1)
    max_message_octets: int = 10_485_760  # in one message; beyond: 552 5.3.4; source: RFC 1870; RFC 5321 section 4.5.3.1.7 asks for 65,536
    max_recipients: int = 1000  # in one transaction; beyond: 452 4.5.3; source: RFC 5321 section 4.5.3.1.8 asks for 100
    max_errors: int = 100  # 5xx for mistakes of the client's on one connection; beyond: 421 4.7.0; source: RFC 5321 section 7.8
    max_text_line_octets: int | None = None  # with CRLF; None: any; beyond: 500 5.5.2; source: RFC 5321 section 4.5.3.1.6 asks for 1000
    bare_newlines: Literal["reject", "keep"] = "reject"  # CR or LF alone in the content (RFC 5321 section 2.3.8)
    require_tls: Literal["no", "remote", "yes"] = "no"  # which peers must begin TLS first; "remote": on other machines (RFC 3207 section 4)
    starttls: bool = False  # whether the transport can be secured (RFC 3207)

    def __post_init__(self) -> None:
        if not is_hostname(self.hostname):
            raise UsageError(f"not a host name: {self.hostname!r}")
        object.__setattr__(self, "bare_newlines", current_word("bare_newlines", self.bare_newlines))
