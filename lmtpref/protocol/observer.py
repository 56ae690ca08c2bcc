"""Observers: they see the events of a conversation, and change nothing."""

from __future__ import annotations

from lmtpref.protocol.commands import Command
from lmtpref.protocol.handler import Envelope, Peer, Recipient
from lmtpref.protocol.replies import Reply


class Observer:
    """An observer of one conversation, called in the order of events; override the methods that you need.

    A session may have several observers.  None of them may raise.
    """

    def connected(self, peer: Peer) -> None:
        """Note that the conversation began."""

    def fed(self, octets: bytes) -> None:
        """Note the octets that the peer sent."""

    def received(self, command: Command) -> None:
        """Note a command line of the peer; its reply follows in `replied`."""

    def message(self, envelope: Envelope) -> None:
        """Note a message that has come whole and within the limits; the handler is asked about it next."""

    def replied(self, reply: Reply, recipient: Recipient | None) -> None:
        """Note a reply: for `recipient` if it answers RCPT or ends the message, else for the last command.

        A 421 that answers no command closes the conversation.
        """

    def taken(self, octets: bytes) -> None:
        """Note octets that were passed on to be sent."""

    def ended(self, envelope: Envelope, answered: bool) -> None:  # noqa: FBT001 - an event, not an option
        """Note the end of a transaction: `answered` if each recipient has its final reply, else it was abandoned."""

    def ended_input(self) -> None:
        """Note that the peer will send no more, before the server has closed."""

    def lost(self) -> None:
        """Note that the connection was lost before the server closed it; an open transaction ends next."""
