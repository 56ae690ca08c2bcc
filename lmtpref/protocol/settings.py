"""What a session is told about its server, and the replies and limits that follow from that alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lmtpref.protocol.extensions import EXTENSIONS
from lmtpref.protocol.framing import first_bare_newline
from lmtpref.protocol.replies import Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A server, as its sessions know it.  Sizes in octets, the rest in counts."""

    hostname: str = "localhost"  # begins the greeting and LHLO's reply (RFC 5321 section 4.3.1)
    max_message_octets: int = 10_485_760  # announced with SIZE (RFC 1870); RFC 5321 section 4.5.3.1.7 asks for 65,536
    max_recipients: int = 1000  # in one transaction; RFC 5321 section 4.5.3.1.8 asks for 100
    max_errors: int = 100  # 5xx for the client's mistakes on one connection (RFC 5321 section 7.8)
    max_text_line_octets: int | None = None  # with CRLF; RFC 5321 section 4.5.3.1.6 asks for 1000; None: no such limit
    bare_newlines: Literal["refuse", "keep"] = "refuse"  # CR or LF alone in the content (RFC 5321 section 2.3.8)


def greeting(settings: Settings) -> Reply:
    """The 220 that opens a conversation; its first word is our name (RFC 5321 section 4.3.1)."""
    return Reply(220, None, f"{settings.hostname} LMTP lmtpref")


def greeting_back(settings: Settings) -> Reply:
    """LHLO's positive reply: our name, then a line for each extension; no enhanced codes (RFC 2034 section 4)."""
    keywords = [f"SIZE {settings.max_message_octets}" if e.keyword == "SIZE" else e.keyword for e in EXTENSIONS]
    return Reply(250, None, settings.hostname, *keywords)


def unfit(content: bytes, settings: Settings) -> Reply | None:
    """The reply that refuses content which is not text as RFC 5321 section 2.3.8 has it; None if it is."""
    if settings.bare_newlines == "refuse" and (offset := first_bare_newline(content)) is not None:
        return Reply(554, "5.6.0", f"Bare CR or LF at octet {offset} of the message")
    limit = settings.max_text_line_octets
    if limit and any(len(line) + 2 > limit for line in content.split(b"\r\n")):
        return Reply(500, "5.5.2", f"A line of the message is over {limit} octets")
    return None
