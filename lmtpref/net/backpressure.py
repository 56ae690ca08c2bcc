"""Backpressure: whether a connection reads, given the work that its earlier input still needs."""

from __future__ import annotations

from dataclasses import dataclass

MAX_WAITING_OCTETS = 65_536  # of commands kept while a hook waits or the client does not read; then reading stops


@dataclass(slots=True)
class Backpressure:
    """The three reasons for a connection to stop reading.

    `has_backlog`: a turn ended before all input was processed.  `hook_waits`: a hook has not answered yet.  `write_paused`: the client
    does not read its replies.
    """

    has_backlog: bool = False
    hook_waits: bool = False
    write_paused: bool = False

    @property
    def may_run(self) -> bool:
        """Whether the session may process more of its input now."""
        return not (self.has_backlog or self.hook_waits or self.write_paused)

    def may_read(self, waiting_octets: int, *, crowded: bool) -> bool:
        """Return whether to read while `waiting_octets` of input are kept.  A `crowded` server reads nothing in advance.

        A backlog stops reading at once; otherwise a client that sends faster than it is served would grow the backlog without limit.
        Without any of the three reasons all input has been processed, and the kept octets belong to an incomplete message.
        """
        if self.may_run:
            return True
        return not self.has_backlog and waiting_octets <= (0 if crowded else MAX_WAITING_OCTETS)
