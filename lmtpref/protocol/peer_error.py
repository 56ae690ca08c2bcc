"""The error of a peer, which carries the reply to it."""

from __future__ import annotations

from lmtpref.protocol.errors import LmtpError
from lmtpref.protocol.replies import Reply


class PeerError(LmtpError):
    """Raised when the peer broke the protocol; `reply` is the reply to it (RFC 5321 section 4.2)."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply))
        self.reply = reply
