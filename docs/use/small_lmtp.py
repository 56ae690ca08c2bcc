"""A small LMTP server that is right: PIPELINING, ENHANCEDSTATUSCODES, and three mailboxes."""

from __future__ import annotations

import re
import socketserver

PATH = re.compile(r"(?:FROM|TO):<([^<>\s]*)>$", re.IGNORECASE)


class Small(socketserver.StreamRequestHandler):
    """One connection."""

    extensions = ("PIPELINING", "ENHANCEDSTATUSCODES")
    mailboxes = frozenset({"ant@lists.example", "bee@lists.example", "cat@lists.example"})

    def handle(self) -> None:
        """Greet, then answer command after command."""
        self.greeted, self.sender, self.recipients = False, False, list[str]()
        self.say("220 small.test LMTP")
        while line := self.rfile.readline():
            verb, _, argument = line.decode("ascii", "replace").strip().partition(" ")
            command = getattr(self, f"do_{verb.lower()}", None)
            self.say("500 5.5.1 Unknown command") if command is None else command(argument)
            if verb.upper() == "QUIT":
                return

    def say(self, *lines: str) -> None:
        """Send a reply."""
        self.wfile.write("".join(f"{line}\r\n" for line in lines).encode())

    def begin(self) -> None:
        """Forget the transaction."""
        self.sender, self.recipients = False, []

    def do_lhlo(self, argument: str) -> None:
        """Greet the client; a name is needed."""
        if not argument:
            return self.say("501 5.5.4 LHLO needs a name")
        self.greeted = True
        self.begin()
        first, *rest = ("small.test", *self.extensions)
        return self.say(*(f"250-{line}" for line in [first, *rest[:-1]]), f"250 {rest[-1]}")

    def do_mail(self, argument: str) -> None:
        """Begin a transaction."""
        if not self.greeted or self.sender:
            return self.say("503 5.5.1 Out of order")
        path, _, parameters = argument.partition("> ")
        if parameters or not PATH.match(path.removesuffix(">") + ">"):
            return self.say("555 5.5.4 No such parameter" if parameters else "501 5.5.4 Bad path")
        self.sender = True
        return self.say("250 2.1.0 Ok")

    def do_rcpt(self, argument: str) -> None:
        """Accept a mailbox that there is."""
        path = PATH.match(argument)
        if not self.sender:
            return self.say("503 5.5.1 Out of order")
        if not path:
            return self.say("501 5.5.4 Bad path")
        address = re.sub("^@[^:]*:", "", path[1]).lower()
        if address not in self.mailboxes:
            return self.say("550 5.1.1 No such mailbox")
        self.recipients.append(address)
        return self.say("250 2.1.5 Ok")

    def do_data(self, argument: str) -> None:
        """Read a message, then answer for each recipient."""
        if argument:
            return self.say("501 5.5.4 DATA has no argument")
        if not self.recipients:
            return self.say("503 5.5.1 No recipient")
        self.say("354 Go on")
        last, self.content = b"\r\n", b""
        while (line := self.rfile.readline()) and (line != b".\r\n" or not last.endswith(b"\r\n")):
            self.keep(line)
            last = line
        if line:
            self.answer()
        self.begin()
        return None

    def keep(self, line: bytes) -> None:
        """Add a line to the message, without the dot that the client added."""
        self.content += line.removeprefix(b".")

    def answer(self) -> None:
        """Give the replies after the message."""
        for address in self.recipients:
            self.say(f"250 2.0.0 {address}")

    def do_rset(self, _: str) -> None:
        """Forget the transaction."""
        self.begin()
        self.say("250 2.0.0 Ok")

    def do_noop(self, _: str) -> None:
        """Do nothing."""
        self.say("250 2.0.0 Ok")

    def do_vrfy(self, _: str) -> None:
        """Refer the client to RCPT."""
        self.say("252 2.5.0 Ask with RCPT")

    def do_quit(self, _: str) -> None:
        """Take leave."""
        self.say("221 2.0.0 Bye")
