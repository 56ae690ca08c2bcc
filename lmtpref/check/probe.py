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

# The need of a case in which the server accepts LHLO within a session, which it may reject (RFC 5321 section 4.1.4).
SECOND_LHLO = "second-lhlo"


@dataclass(frozen=True, slots=True)
class Probe:
    """The properties of a target: the parameters of each extension by its keyword, and the reply to each address."""

    problem: str = ""  # why no case can be played
    greeting: str = ""
    offers: Mapping[str, str] = field(default_factory=dict)
    replies: Mapping[str, str] = field(default_factory=dict)
    second_lhlo: str = ""  # the reply to LHLO within the session

    def lacks(self, need: str) -> str:
        """Return why the target does not meet `need`; empty if it does."""
        if need == SECOND_LHLO:
            return "" if self.second_lhlo[:1] == "2" else f"a second LHLO was answered {self.second_lhlo}"
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

    @property
    def incomplete(self) -> str:
        """The part of a reply after which no CRLF came, as an addition to a message; empty if the server sent no such part."""
        unfinished = self._reader.unfinished
        return f"; an incomplete reply came, which no CRLF ends (RFC 5321 section 2.3.8): {unfinished!r}" if unfinished else ""

    def ask(self, command: str) -> Heard:
        """Send a command; return its reply."""
        self._wire.send(f"{command}\r\n".encode())
        return self.reply()


def _ask(dialogue: _Dialogue, sender: str, addresses: Iterable[str]) -> Probe:
    greeting = dialogue.reply()
    if not greeting:
        return Probe(problem=f"no greeting came{dialogue.incomplete}")
    if greeting[0][:1] != b"2":
        return Probe(problem=f"the greeting was {_text(greeting)}")
    if (lhlo := dialogue.ask(LHLO))[:1] == () or lhlo[0][:1] != b"2":
        return Probe(problem=f"{LHLO} was answered {_text(lhlo)}{dialogue.incomplete}", greeting=_text(greeting))
    keywords = (line[4:].decode("utf-8", "replace").split() for line in lhlo[1:])
    offers = {words[0].upper(): " ".join(words[1:]) for words in keywords if words}
    wanted = tuple(addresses)
    replies = _replies(dialogue, sender, wanted) if wanted else {}
    second = _text(dialogue.ask(LHLO))
    dialogue.ask("QUIT")
    return Probe("", _text(greeting), offers, replies, second)


def _replies(dialogue: _Dialogue, sender: str, addresses: Iterable[str]) -> dict[str, str]:
    """Return the reply to RCPT for each address."""
    if (mail := dialogue.ask(f"MAIL FROM:<{sender}>")) and mail[0][:1] == b"2":
        replies = {address: _text(dialogue.ask(f"RCPT TO:<{address}>")) for address in addresses}
    else:
        replies = {address: f"nothing, because MAIL FROM:<{sender}> was answered {_text(mail)}" for address in addresses}
    dialogue.ask("RSET")
    return replies


def _text(reply: Heard) -> str:
    return printable(reply[0].decode("utf-8", "backslashreplace")) if reply else "with silence"
