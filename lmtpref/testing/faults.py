"""Faults for tests: the server's error, the command at which it happens, and its number of times."""

from __future__ import annotations

import threading
from typing import Self

from lmtpref.lists.addresses import fold_address
from lmtpref.protocol.errors import UsageError
from lmtpref.protocol.events import EVENT_OF
from lmtpref.protocol.replies import EnhancedCode, Reply

# The points at which a fault can happen, each with the hook that it replaces; the others have no hook.
HOOKS = {"CONNECT": "connect", "LHLO": "lhlo", "MAIL": "mail", "RCPT": "rcpt", "DATA": "data", "BDAT": "data", ".": "deliver"}
HOOKLESS = frozenset({"RSET", "NOOP", "VRFY", "HELP", "XFORWARD", "STARTTLS", "QUIT"})
_ADDRESSED = frozenset({"RCPT", "."})  # the points that have a recipient


class Fault:
    """A fault at a command, described by its methods, which can be chained unless they exclude each other.

    `times` limits how often it happens; without it, it always does.  Raises UsageError for impossible faults.
    """

    def __init__(self, command: str, *, to: str | None = None, after: int = 0) -> None:
        self.command = str(command).upper()
        if self.command not in HOOKS and self.command not in HOOKLESS:
            raise UsageError(f"no fault can happen at: {command!r}; there are {', '.join(sorted({*HOOKS, *HOOKLESS}))}")
        if to is not None and self.command not in _ADDRESSED:
            raise UsageError(f"{self.command} has no recipient; `to` is for RCPT and for '.'")
        if not isinstance(to, str | None):
            raise UsageError(f"`to` is an address as text; not {to!r}")
        if not isinstance(after, int) or after < 0:
            raise UsageError(f"`after` is a number of occasions, 0 or more; not {after!r}")
        self.to, self.after = to, after
        self.times: int | None = None
        self.fired = 0
        self.seconds = 0.0
        self.answer: Reply | None = None
        self.ending: str | None = None  # "drop", "reset" or "stall"
        self.octets: int | None = None  # of the reply, sent before a drop
        self.piece: int | None = None  # octets in a piece
        self._seen = 0
        options = [f", to={to!r}"] * (to is not None) + [f", after={after}"] * bool(after)
        self._spelt = f"on({command!r}{''.join(options)})"

    def reply(self, code: int, enhanced: EnhancedCode | str | None, text: str = "", *, times: int | None = None) -> Self:
        """Send this reply instead of calling the handler; the conversation continues as if the handler had given it.

        Each line of `text` becomes a line of the reply.  Raises UsageError for an invalid `Reply`.
        """
        lines = text.split("\n") if isinstance(text, str) and text else [text] if text else []
        answer = Reply(code, enhanced, *lines)
        if hook := HOOKS.get(self.command):
            EVENT_OF[hook].check(answer)
        self._decide(f"reply({code}, {str(enhanced) if enhanced else None!r}, {text!r}", times)
        self.answer = answer
        return self

    def delay(self, seconds: float, *, times: int | None = None) -> Self:
        """Wait before the command is processed; other connections continue."""
        self._note(f"delay({seconds}", times)
        self.seconds = _positive(seconds)
        return self

    def drop(self, *, after_bytes: int | None = None, times: int | None = None) -> Self:
        """Close the connection instead of a reply, without calling the handler.

        With `after_bytes` the handler is called, and the connection closes after that many octets of the reply.
        """
        self.octets = after_bytes
        return self._end("drop", "" if after_bytes is None else f"after_bytes={after_bytes}", times)

    def reset(self, *, times: int | None = None) -> Self:
        """Close as `drop` does, but over TCP with a RST, so that the client sees a connection reset by peer."""
        return self._end("reset", "", times)

    def stall(self, *, times: int | None = None) -> Self:
        """Never reply, until the client gives up or the server stops."""
        return self._end("stall", "", times)

    def slice(self, octets: int, *, times: int | None = None) -> Self:
        """Send the reply in pieces of that many octets, with a pause after each so that it arrives alone."""
        if self.ending:
            raise UsageError(f"{self} leaves no reply to slice")
        self._note(f"slice({octets}", times)
        self.piece = int(_positive(octets))
        return self

    def meet(self, command: str, address: str | None) -> bool:
        """Return whether the fault happens now, at `command` (and its recipient); count the occasion."""
        if command != self.command or (self.to is not None and fold_address(self.to) != fold_address(address or "")):
            return False
        self._seen += 1
        return self._seen > self.after and self.fired != self.times

    @property
    def missing(self) -> str:
        """Why this happened less often than requested; empty if it did not."""
        if self.fired >= (self.times or 1):
            return ""
        if self.fired:
            return f"{self} happened {self.fired} of {self.times} times"
        return f"{self} never happened; its condition was met {self._seen} times"

    def __str__(self) -> str:
        return self._spelt

    def _end(self, ending: str, argument: str, times: int | None) -> Self:
        if self.piece:
            raise UsageError(f"{self} changes a reply, which {ending}() would prevent")
        self._decide(f"{ending}({argument}", times)
        self.ending = ending
        return self

    def _decide(self, call: str, times: int | None) -> None:
        if self.answer or self.ending:
            raise UsageError(f"{self} has a reply already")
        self._note(call, times)

    def _note(self, call: str, times: int | None) -> None:
        if times is not None:
            self.times = int(_positive(times))
            call += f", times={times}" if not call.endswith("(") else f"times={times}"
        self._spelt += f".{call})"


class Faults:
    """The faults of one server.  Any thread may add some."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def on(self, command: str, *, to: str | None = None, after: int = 0) -> Fault:
        """Return a fault at `command` to be described by its methods; see `Fault`.

        `command` is a verb, ``"connect"``, or ``"."`` for a recipient's reply after the end of the message.  `to` limits it to one
        recipient; `after` skips that many occasions.
        """
        return self.add(Fault(command, to=to, after=after))

    def add(self, fault: Fault) -> Fault:
        """Add `fault`, which can happen from now on."""
        with self._lock:
            self._faults.append(fault)
        return fault

    def meet(self, command: str, address: str | None) -> Fault | None:
        """Return the fault that happens now, the first of those that are due; each of them counts the occasion."""
        with self._lock:
            due = [fault for fault in self._faults if fault.meet(command, address)]
            if not due:
                return None
            due[0].fired += 1
            return due[0]

    @property
    def missing(self) -> list[str]:
        """The faults that did not happen, a line each."""
        with self._lock:
            return [fault.missing for fault in self._faults if fault.missing]

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._faults.clear()


def _positive(number: float) -> float:
    if not isinstance(number, int | float) or not number > 0:
        raise UsageError(f"a number above 0 is needed: {number!r}")
    return number
