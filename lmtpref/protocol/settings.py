"""What a session is told about its server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A server, as its sessions know it.  Sizes in octets, the rest in counts."""

    hostname: str = "localhost"  # begins the greeting and LHLO's reply (RFC 5321 section 4.3.1)
    max_message_octets: int = 10_485_760  # announced with SIZE (RFC 1870); RFC 5321 section 4.5.3.1.7 asks for 65,536
    max_recipients: int = 1000  # in one transaction; RFC 5321 section 4.5.3.1.8 asks for 100
    max_errors: int = 100  # 5xx for the client's mistakes on one connection (RFC 5321 section 7.8)
    max_text_line_octets: int | None = None  # with CRLF; RFC 5321 section 4.5.3.1.6 asks for 1000; None: no such limit
    bare_newlines: Literal["refuse", "keep"] = "refuse"  # CR or LF alone in the content (RFC 5321 section 2.3.8)
    starttls: bool = False  # whether the transport can be secured (RFC 3207)
