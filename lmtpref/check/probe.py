"""The first conversation with a target: what LHLO offers, and which addresses are accepted.  It sends no message."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from lmtpref.check.target import BoundedWire, Target
from lmtpref.protocol.client.reply_reader import ReplyReader
from lmtpref.protocol.errors import ReplyError
from lmtpref.protocol.printable import printable
from lmtpref.transcripts.matching import Heard
from lmtpref.transcripts.opening import LHLO


@dataclass(frozen=True, slots=True)
class Probe:
    """The properties of a target: the parameters of each extension by its keyword, and the reply to each address."""

    problem: str = ""  # why no case can be played
    greeting: str = ""
    offers: Mapping[str, str] = field(default_factory=dict)
    replies: Mapping[str, str] = field(default_factory=dict)

    def lacks(self, need: str) -> str:
        """Return why the target does not meet `need`; empty if it does."""
        words = need.split()
        if words[0] == "no":
            return f"{words[1]} is offered" if words[1] in self.offers else ""
        if words[0] not in self.offers:
            return f"{words[0]} is not offered"
        parameters = " ".join(words[1:])
        return f"{words[0]} is offered without {parameters}" if parameters and parameters != self.offers[words[0]] else ""


def probe(target: Target, sender: str, addresses: Iterable[str]) -> Probe:
    """Return the extensions of `target`, and its reply to RCPT for each address.

    A target that cannot be reached, or rejects LHLO, has a `problem`.
    """
    try:
        with target.connect(()) as wire:
            return _ask(_Dialogue(wire), sender, addresses)
    except (OSError, ReplyError) as error:
        return Probe(problem=str(error))


class _Dialogue:
    """A conversation of one command and one reply at a time."""

    def __init__(self, wire: BoundedWire) -> None:
        self._wire, self._reader = wire, ReplyReader()

    def reply(self) -> Heard:
        """Return the next reply; empty if none comes."""
        while (reply := self._reader.next()) is None:
            if not (octets := self._wire.receive()):
                return ()
            self._reader.feed(octets)
        return reply

    def ask(self, command: str) -> Heard:
        """Send a command; return its reply."""
        self._wire.send(f"{command}\r\n".encode())
        return self.reply()


def _ask(dialogue: _Dialogue, sender: str, addresses: Iterable[str]) -> Probe:
    greeting = dialogue.reply()
    if not greeting:
        return Probe(problem="no greeting came")
    if greeting[0][:1] != b"2":
        return Probe(problem=f"the greeting was {_text(greeting)}")
    if (lhlo := dialogue.ask(LHLO))[:1] == () or lhlo[0][:1] != b"2":
        return Probe(problem=f"{LHLO} was answered {_text(lhlo)}", greeting=_text(greeting))
    keywords = (line[4:].decode("utf-8", "replace").split() for line in lhlo[1:])
    offers = {words[0].upper(): " ".join(words[1:]) for words in keywords if words}
    replies: dict[str, str] = {}
    wanted = tuple(addresses)
    if not wanted:
        dialogue.ask("QUIT")
        return Probe("", _text(greeting), offers)
    if (mail := dialogue.ask(f"MAIL FROM:<{sender}>")) and mail[0][:1] == b"2":
        replies = {address: _text(dialogue.ask(f"RCPT TO:<{address}>")) for address in wanted}
    else:
        replies = {address: f"nothing, because MAIL FROM:<{sender}> was answered {_text(mail)}" for address in wanted}
    dialogue.ask("RSET")
    dialogue.ask("QUIT")
    return Probe("", _text(greeting), offers, replies)


def _text(reply: Heard) -> str:
    return printable(reply[0].decode("utf-8", "backslashreplace")) if reply else "with silence"
