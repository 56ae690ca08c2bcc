"""Broken servers: a proxy in front of the reference server changes one thing in the conversation."""

from __future__ import annotations

import contextlib
import re
import select
import socket
import socketserver
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from small_server import serve

from lmtpref.protocol.client.reply_reader import ReplyReader

END = b"\r\n.\r\n"


@dataclass
class Conversation:
    """The facts about a connection that a mutant may use."""

    accepted: list[str] = field(default_factory=list)  # the paths of accepted RCPTs
    rejected: int = 0  # RCPTs of this transaction
    lhlos: int = 0
    commands: int = 0
    finals: int = 0  # replies after the message so far
    had_recipients: bool = False  # in an earlier transaction
    held: list[bytes] = field(default_factory=list)  # replies that a mutant keeps for later
    pending: deque[str] = field(default_factory=deque)  # verbs that are not answered yet
    paths: deque[str] = field(default_factory=deque)  # of the RCPTs among them


Command = Callable[[Conversation, str, bytes], bytes | None]
Content = Callable[[bytes], bytes]
Reply = Callable[[Conversation, str, bytes], list[bytes]]


@dataclass(frozen=True)
class Mutant:
    """One change: its effect, the case that finds it, and the condition that the reference must be in.

    `command` changes a command on its way to the reference, or swallows it; `content` changes a message; `reply` replaces
    a reply; `partial` is added to a command that has no CRLF yet.  With `deaf`, the octets that a client sends after the
    first command of a write are lost; with `stays`, the connection is never closed first.
    """

    name: str
    caught_by: str
    given: str = ""
    command: Command = lambda _, __, line: line
    content: Content = lambda octets: octets
    reply: Reply = lambda _, __, reply: [reply]
    partial: bytes = b""
    deaf: bool = False
    stays: bool = False


class Proxy(socketserver.BaseRequestHandler):
    """One connection of a client's to the reference, spoilt by `mutant`."""

    mutant: Mutant
    reference: str

    def handle(self) -> None:
        """Carry octets both ways until one side closes."""
        host, _, port = self.reference.rpartition(":")
        self.talk, self.replies = Conversation(), ReplyReader()
        self.input, self.chunk, self.due = b"", 0, 0
        self.in_data = self.waits = self.open = self.greeted = False
        with socket.create_connection((host, int(port))) as self.upstream:
            while True:
                ready, _, _ = select.select([self.request, self.upstream], [], [])
                if self.upstream in ready and not self.take_replies(self.upstream.recv(65536)):
                    break
                if self.request in ready:
                    octets = self.request.recv(65536)
                    if not octets:
                        with contextlib.suppress(OSError):
                            self.upstream.shutdown(socket.SHUT_WR)
                        self.drain()
                        return
                    self.input += octets
                self.forward()
            while self.mutant.stays and self.request.recv(65536):
                pass

    def drain(self) -> None:
        """Read from the reference until it closes."""
        while self.take_replies(self.upstream.recv(65536)):
            pass

    def forward(self) -> None:
        """Forward the complete commands that the client has sent."""
        while self.input and not self.waits:
            if self.chunk:
                if len(self.input) < self.chunk:
                    return
                self.upstream.sendall(self.input[: self.chunk])
                self.input, self.chunk = self.input[self.chunk :], 0
            elif self.in_data:
                text = b"\r\n" + self.input
                if END not in text:
                    return
                content, _, rest = text.partition(END)
                self.upstream.sendall(self.mutant.content((content + END)[2:]))
                self.input, self.in_data = rest, False
                self.expect_finals()
            elif not self.forward_command():
                return

    def forward_command(self) -> bool:
        """Pass on one command; whether there was one, and the next may follow."""
        line, end, rest = self.input.partition(b"\r\n")
        if not end:
            self.upstream.sendall(self.mutant.partial and line + self.mutant.partial)
            self.input = b"" if self.mutant.partial else line
            self.talk.pending.extend(["NOOP"] * bool(self.mutant.partial))
            return False
        verb = line.split(b" ")[0].decode("latin-1").upper()
        if verb == "BDAT" and self.talk.pending:
            return False
        self.talk.commands += 1
        changed = self.mutant.command(self.talk, verb, line + end)
        self.input = b"" if self.mutant.deaf else rest
        if changed is None:
            return True
        self.upstream.sendall(changed)
        self.note(verb, line, changed)
        return True

    def note(self, verb: str, line: bytes, changed: bytes) -> None:
        """Record the replies that are due."""
        size = re.fullmatch(rb"BDAT (\d+)( LAST)?", line, re.IGNORECASE)
        if size and changed[:4].upper() == b"BDAT":
            self.chunk = int(size[1])
            if size[2]:
                self.expect_finals() if self.open else self.talk.pending.append("BDAT")
                return
        self.talk.pending.append(verb)
        self.waits = verb == "DATA"
        self.talk.lhlos += verb == "LHLO"
        if verb == "RCPT":
            self.talk.paths.append(line.decode("latin-1"))

    def expect_finals(self) -> None:
        """Expect a reply for each accepted recipient."""
        self.talk.pending.extend(["."] * len(self.talk.accepted))
        if not self.talk.accepted:
            self.finish()

    def finish(self) -> None:
        """End the transaction."""
        self.talk.had_recipients = self.talk.had_recipients or bool(self.talk.accepted)
        self.talk.accepted, self.talk.rejected, self.talk.finals, self.open = [], 0, 0, False

    def take_replies(self, octets: bytes) -> bool:
        """Process octets from the reference; return False if it has closed."""
        self.replies.feed(octets)
        while reply := self.replies.next():
            verb = ("" if not self.greeted else self.talk.pending.popleft()) if self.talk.pending or not self.greeted else "."
            self.greeted = True
            spelt = b"".join(line + b"\r\n" for line in reply)
            changed = self.mutant.reply(self.talk, verb, spelt)
            with contextlib.suppress(OSError):
                self.request.sendall(b"".join(changed))
            self.learn(verb, b"".join(changed)[:3] or reply[0][:3], reply[0][:1] == b"2")
        return bool(octets)

    def learn(self, verb: str, code: bytes, positive: bool) -> None:  # noqa: FBT001 - what the reference said
        """Apply a reply to the model of the transaction."""
        if verb == "RCPT":
            path = self.talk.paths.popleft()
            self.talk.accepted += [path] if positive else []
            self.talk.rejected += not positive
        elif verb == "MAIL":
            self.open = self.open or positive
        elif verb == "DATA":
            self.waits, self.in_data = False, code == b"354"
        elif verb in {"RSET", "LHLO"} and positive:
            self.finish()
        elif verb == ".":
            self.talk.finals += 1
            if self.talk.finals >= len(self.talk.accepted):
                self.finish()


@contextlib.contextmanager
def spoil(reference: str, mutant: Mutant) -> Iterator[str]:
    """Serve the reference with this change; yield the address."""
    with serve(type("Spoilt", (Proxy,), {"mutant": mutant, "reference": reference})) as address:
        yield address


# Actions of mutants ----------------------------------------------------------------------------------------------------


def says(verb: str, reply: str, *, instead_of: str = "") -> Reply:
    """Answer `verb` with `reply`, wherever the reference's reply begins with `instead_of`."""

    def change(_: Conversation, answered: str, spelt: bytes) -> list[bytes]:
        return [f"{reply}\r\n".encode()] if answered == verb and spelt.startswith(instead_of.encode()) else [spelt]

    return change


def turns(verb: str, into: str, *, first: int = 0) -> Command:
    """Send the reference `into` instead of the command `verb`, after the first `first` times."""

    def change(talk: Conversation, said: str, line: bytes) -> bytes:
        spared = verb == "LHLO" and talk.lhlos < first
        return f"{into}\r\n".encode() if said == verb and not spared else line

    return change


def spells(verb: str, pattern: str, replacement: str) -> Reply:
    """Change the spelling of the replies to `verb`."""

    def change(_: Conversation, answered: str, spelt: bytes) -> list[bytes]:
        changed = re.sub(pattern.encode("latin-1"), replacement.encode("latin-1"), spelt) if answered == verb else spelt
        return [changed]

    return change


def finals(change: Callable[[Conversation, bytes], list[bytes]]) -> Reply:
    """Change the replies after a message."""
    return lambda talk, verb, spelt: change(talk, spelt) if verb == "." else [spelt]


def only_first(talk: Conversation, spelt: bytes) -> list[bytes]:
    """Say the first reply after a message, and no other."""
    return [] if talk.finals else [spelt]


def all_but_last(talk: Conversation, spelt: bytes) -> list[bytes]:
    """Leave the last reply after a message out."""
    return [spelt] if talk.finals + 1 < len(talk.accepted) else []


def one_more(talk: Conversation, spelt: bytes) -> list[bytes]:
    """Say the last reply after a message twice."""
    return [spelt] if talk.finals + 1 < len(talk.accepted) else [spelt, spelt]


def once_each(talk: Conversation, spelt: bytes) -> list[bytes]:
    """Answer for each address once, however often it was given."""
    return [] if talk.accepted[talk.finals] in talk.accepted[: talk.finals] else [spelt]


def for_rejected(talk: Conversation, spelt: bytes) -> list[bytes]:
    """Answer for rejected recipients too."""
    return [spelt] if talk.finals else [spelt, *[b"550 5.1.1 Unknown\r\n"] * talk.rejected]


def backwards(talk: Conversation, spelt: bytes) -> list[bytes]:
    """Say the replies after a message in the opposite order."""
    talk.held.insert(0, spelt)
    if talk.finals + 1 < len(talk.accepted):
        return []
    held, talk.held = talk.held, []
    return held


def in_one(talk: Conversation, spelt: bytes) -> list[bytes]:
    """Make one reply of several lines of them."""
    last = talk.finals + 1 >= len(talk.accepted)
    return [spelt if last else spelt[:3] + b"-" + spelt[4:]]


def held_back(talk: Conversation, verb: str, spelt: bytes) -> list[bytes]:
    """Say the last reply after a message only when the next reply is due."""
    if verb == "." and talk.finals + 1 >= len(talk.accepted):
        talk.held.append(spelt)
        return []
    held, talk.held = talk.held, []
    return [*held, spelt]


def swapped(talk: Conversation, verb: str, spelt: bytes) -> list[bytes]:
    """Answer RCPTs that come together in the opposite order."""
    if verb != "RCPT":
        return [spelt]
    talk.held.append(spelt)
    if "RCPT" in talk.pending:
        return []
    held, talk.held = talk.held, []
    return held[::-1]


def without(keyword: str) -> Reply:
    """Leave an extension out of LHLO's reply."""
    return spells("LHLO", rf"250-{keyword}[^\r]*\r\n", "")


def never(verb: str) -> Reply:
    """Do not answer `verb`."""
    return lambda _, answered, spelt: [] if answered == verb else [spelt]


def twice(verb: str) -> Reply:
    """Answer `verb` twice."""
    return lambda _, answered, spelt: [spelt, spelt] if answered == verb else [spelt]


def refuses(pattern: str) -> Command:
    """Send the reference an unknown command instead of one that matches `pattern`."""
    return lambda _, __, line: b"REFUSED\r\n" if re.match(pattern.encode("latin-1"), line) else line


def changes(pattern: str, replacement: str) -> Command:
    """Change the client's commands."""
    return lambda _, __, line: re.sub(pattern.encode("latin-1"), replacement.encode("latin-1"), line)


def accepts_after_message(talk: Conversation, verb: str, spelt: bytes) -> list[bytes]:
    """Take the recipients of the message before for those of this one."""
    return [b"354 Go on\r\n"] if verb == "DATA" and spelt.startswith(b"503") and talk.had_recipients else [spelt]


def all_rejected_after_one(talk: Conversation, verb: str, spelt: bytes) -> list[bytes]:
    """Reject every recipient after one that was rejected, even after RSET."""
    if verb == "RCPT" and spelt.startswith(b"550"):
        talk.held = [spelt]
    return [*talk.held] if verb == "RCPT" and talk.held else [spelt]


def cancelled_by_quit(talk: Conversation, verb: str, spelt: bytes) -> list[bytes]:
    """Give no reply after a message if QUIT follows it in the same write."""
    return [] if verb == "." and "QUIT" in talk.pending else [spelt]


FOR_MESSAGES = (
    Mutant("one reply for all recipients", "rfc2033-4.2-three-recipients", reply=finals(only_first)),
    Mutant("one reply too few", "rfc2033-4.2-three-recipients", reply=finals(all_but_last)),
    Mutant("one reply too many", "rfc2033-4.2-one-recipient", reply=finals(one_more)),
    Mutant("a reply for rejected recipients", "rfc2033-4.2-one-of-three-rejected", reply=finals(for_rejected)),
    Mutant("a reply for each address", "rfc2033-4.2-same-path-twice", reply=finals(once_each)),
    Mutant("replies in one of several lines", "rfc2033-4.2-three-recipients", reply=finals(in_one)),
    Mutant("replies in the opposite order", "rfc2033-4.2-verdicts-in-order", given="verdicts", reply=finals(backwards)),
    Mutant("no reply after a message", "rfc2033-4.2-one-recipient", reply=never(".")),
    Mutant("354 after a message", "rfc2033-4.2-one-recipient", reply=says(".", "354 Go on")),
    Mutant("250 to DATA", "rfc2033-4.2-one-recipient", reply=says("DATA", "250 2.0.0 Ok", instead_of="354")),
    Mutant("DATA without an accepted recipient", "rfc2033-4.2-no-recipient", reply=says("DATA", "354 Go on", instead_of="503")),
    Mutant("554 to DATA without a recipient", "rfc2033-4.2-no-recipient", reply=says("DATA", "554 5.5.1 None", instead_of="503")),
    Mutant("DATA without MAIL", "rfc2033-4.2-no-rcpt-no-mail", reply=says("DATA", "354 Go on", instead_of="503")),
    Mutant("recipients of the message before", "rfc2033-4.2-recipient-of-the-message-before", reply=accepts_after_message),
    Mutant("a dot between bare LFs ends the message", "rfc2033-base-bare-lf-in-data", content=lambda c: c.replace(b"\n.\n", END)),
    Mutant("a doubled dot ends the message", "rfc2033-base-dots", content=lambda c: c.replace(b"..\r\n", b".\r\n", 1)),
    Mutant("QUIT after a message cancels its replies", "pipelining-quit-after-the-dot", reply=cancelled_by_quit),
    Mutant("one 552 for two recipients", "size-over-the-limit", given="size-60", reply=finals(only_first)),
    Mutant("goes on after 421", "rfc2033-base-421-among-final-replies", given="bee-421", stays=True),
)
FOR_CHUNKS = (
    Mutant("LAST answered once", "rfc2033-4.3-two-recipients", reply=finals(only_first)),
    Mutant("LAST answered for each address", "rfc2033-4.3-same-path-twice", reply=finals(once_each)),
    Mutant("LAST answered for rejected recipients", "rfc2033-4.3-one-of-two-rejected", reply=finals(for_rejected)),
    Mutant(
        "LAST answered without recipients",
        "rfc2033-4.3-no-recipient-then-mail",
        reply=lambda talk, verb, spelt: [b"503 5.5.1 None\r\n", spelt] if verb == "MAIL" and talk.commands > 3 else [spelt],
    ),
    Mutant("a chunk answered for each recipient", "rfc2033-4.3-three-recipients-one-reply", reply=twice("BDAT")),
    Mutant("a chunk not answered", "rfc2033-4.3-three-recipients-one-reply", reply=never("BDAT")),
    Mutant("a chunk with an octet too many", "rfc2033-4.3-one-recipient", command=changes("^BDAT 12 LAST", "BDAT 13 LAST")),
    Mutant("a chunk with an octet too few", "rfc2033-4.3-one-recipient", command=changes("^BDAT 12 LAST", "BDAT 11 LAST")),
    Mutant("a chunk after LAST", "chunking-after-last", reply=says("BDAT", "250 2.0.0 Ok", instead_of="503")),
    Mutant("the octets of a failed chunk are commands", "chunking-after-last", command=changes("^BDAT 6", "BDAT 0")),
    Mutant("DATA after a chunk", "chunking-data-after-bdat", reply=says("DATA", "354 Go on", instead_of="503")),
    Mutant("DATA with BINARYMIME", "chunking-binarymime-data", reply=says("DATA", "354 Go on", instead_of="503")),
    Mutant("RSET keeps the chunks", "chunking-rset", command=turns("RSET", "NOOP")),
)
FOR_SESSIONS = (
    Mutant("EHLO accepted", "rfc2033-4.1-ehlo", reply=says("EHLO", "250 small.test")),
    Mutant("HELO accepted", "rfc2033-4.1-helo", reply=says("HELO", "250 small.test")),
    Mutant(
        "EHLO ends the transaction", "rfc2033-4.1-ehlo-in-transaction", command=turns("EHLO", "RSET"), reply=says("EHLO", "500 5.5.1 No")
    ),
    Mutant("LHLO rejected", "rfc2033-4.1-lhlo", reply=says("LHLO", "500 5.5.1 No")),
    Mutant("a second LHLO keeps the transaction", "rfc2033-4.1-lhlo-in-transaction", command=turns("LHLO", "NOOP", first=1)),
    Mutant("no PIPELINING", "pipelining-keyword", reply=without("PIPELINING")),
    Mutant("no ENHANCEDSTATUSCODES", "enhancedstatuscodes-keyword", reply=without("ENHANCEDSTATUSCODES")),
    Mutant("a greeting of 250", "rfc2033-base-greeting", reply=says("", "250 small.test")),
    Mutant("two greetings", "rfc2033-base-greeting", reply=twice("")),
    Mutant("a greeting of 554", "rfc2033-base-greeting", reply=says("", "554 5.3.2 No mail")),
    Mutant("RCPT before MAIL", "rfc2033-base-out-of-order", reply=says("RCPT", "250 2.1.5 Ok", instead_of="503")),
    Mutant("MAIL within a transaction", "rfc2033-base-out-of-order", reply=says("MAIL", "250 2.1.0 Ok", instead_of="503")),
    Mutant("RSET keeps the recipients", "rfc2033-4.2-recipient-before-rset", command=turns("RSET", "NOOP")),
    Mutant("RSET rejected", "rfc2033-base-rset", reply=says("RSET", "502 5.5.1 No")),
    Mutant("NOOP ends the transaction", "rfc2033-base-within-a-transaction", command=turns("NOOP", "RSET")),
    Mutant(
        "VRFY ends the transaction",
        "rfc2033-base-within-a-transaction",
        command=turns("VRFY", "RSET"),
        reply=says("VRFY", "252 2.5.0 Ask with RCPT"),
    ),
    Mutant("NOOP not answered", "rfc2033-base-before-lhlo", reply=never("NOOP")),
    Mutant("NOOP answered twice", "rfc2033-base-before-lhlo", reply=twice("NOOP")),
    Mutant("NOOP rejected", "rfc2033-base-before-lhlo", reply=says("NOOP", "502 5.5.1 No")),
    Mutant("QUIT not answered", "rfc2033-4-commands", reply=never("QUIT")),
    Mutant("QUIT answered 250", "rfc2033-4-commands", reply=says("QUIT", "250 2.0.0 Bye")),
    Mutant("open after QUIT", "rfc2033-4-commands", stays=True),
    Mutant("unknown commands accepted", "rfc2033-4-no-command", reply=says("NOPE", "250 2.0.0 Ok")),
    Mutant("unknown commands not answered", "rfc2033-4-no-command", reply=never("NOPE")),
    Mutant("unknown commands end the session", "rfc2033-4-no-command", command=turns("NOPE", "QUIT")),
    Mutant("commands in capitals only", "rfc2033-base-any-case", command=refuses("[a-z]")),
    Mutant("commands of 512 octets rejected", "rfc2033-base-512-octets", given="noop-argument", command=refuses(".{500}")),
    Mutant("half a command answered", "rfc2033-base-half-a-line", partial=b"P\r\n"),
    Mutant("the null sender rejected", "rfc2033-base-null-sender", command=refuses("MAIL FROM:<>")),
    Mutant("a null recipient", "rfc2033-base-null-recipient", reply=says("RCPT", "250 2.1.5 Ok", instead_of="501")),
    Mutant("source routes rejected", "rfc2033-base-source-route", command=refuses("(?i)rcpt to:<@")),
    Mutant("AUTH accepted and not offered", "rfc2033-8-no-auth", reply=says("AUTH", "235 2.7.0 Ok")),
)
FOR_EXTENSIONS = (
    Mutant("all but the first of pipelined commands lost", "pipelining-group", deaf=True),
    Mutant("pipelined RCPTs answered in the opposite order", "pipelining-group-with-a-rejection", reply=swapped),
    Mutant("the last reply after a message held back", "rfc2033-4.2-one-recipient", reply=held_back),
    Mutant("RCPTs rejected because one was before RSET", "pipelining-second-attempt", reply=all_rejected_after_one),
    Mutant("commands after QUIT answered", "pipelining-after-quit", reply=twice("QUIT")),
    Mutant("unknown parameters accepted", "limits-no-parameter", reply=says("MAIL", "250 2.1.0 Ok")),
    Mutant("SIZE offered and rejected", "rfc2033-4.1-extension-parameter", command=refuses(".* SIZE=")),
    Mutant("BODY offered and rejected", "eightbitmime-parameter", command=refuses(".* BODY=")),
    Mutant("unknown BODY values accepted", "eightbitmime-unknown-value", command=changes(" BODY=9BITMIME", " BODY=8BITMIME")),
    Mutant("SMTPUTF8 offered and rejected", "smtputf8-parameter", command=refuses(".* SMTPUTF8")),
    Mutant("SMTPUTF8 with a value", "smtputf8-parameter-with-a-value", command=changes(" SMTPUTF8=1", " SMTPUTF8")),
    Mutant("SIZE that is no number", "size-syntax", command=changes(" SIZE=1k", " SIZE=1")),
    Mutant("STARTTLS accepted and not offered", "starttls-not-configured", reply=says("STARTTLS", "220 2.0.0 Go on")),
    Mutant("XFORWARD within a transaction", "xforward-in-a-transaction", reply=says("XFORWARD", "250 2.0.0 Ok", instead_of="503")),
    Mutant("a reply without an enhanced code", "rfc2033-base-before-lhlo", reply=spells("NOOP", "2.0.0 ", "")),
    Mutant("an enhanced code of another class", "rfc2033-base-before-lhlo", reply=spells("NOOP", "2.0.0", "5.0.0")),
    Mutant("an enhanced code on the first line only", "rfc2033-base-before-lhlo", reply=says("RSET", "250-2.0.0 Ok\r\n250 and done")),
    Mutant("lines of one reply with different codes", "rfc2033-base-before-lhlo", reply=says("RSET", "250-2.0.0 Ok\r\n251 2.0.0 Ok")),
    Mutant("a reply line of 600 octets", "rfc2033-base-before-lhlo", reply=says("RSET", f"250 2.0.0 {'x' * 600}")),
    Mutant("a reply that is not ASCII", "rfc2033-base-before-lhlo", reply=says("RSET", "250 2.0.0 Grüße")),
    Mutant("a reply that ends in LF", "rfc2033-base-before-lhlo", reply=spells("RSET", "\r\n", "\n")),
    Mutant("a reply without a code", "rfc2033-base-before-lhlo", reply=says("RSET", "Ok")),
)
MUTANTS = (*FOR_MESSAGES, *FOR_CHUNKS, *FOR_SESSIONS, *FOR_EXTENSIONS)
