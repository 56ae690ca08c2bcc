"""Two clients on one server, and a model of its correct replies and queues."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lmtpref import MailingList, MemoryDirectory, MemoryQueues
from lmtpref.config import cast
from lmtpref.transcripts.memory_wire import MemoryWire


class Post(NamedTuple):
    """The model of a message for one recipient: its queue, list, sub-address and sender."""

    queue: str
    list: str | None
    subaddress: str | None
    sender: str
    number: int


ANNE, BART, CRIS, DANA, NOBODY = "anne@home.test", "bart@home.test", "cris@home.test", "dana@spam.test", ""
SENDERS = (ANNE, BART, CRIS, DANA, NOBODY)
MEMBERS = {"ant": {ANNE, CRIS}, "bee": set(), "cat": {ANNE}}
HELD = {("cat", BART), ("cat", CRIS), ("ant", CRIS)}
QUEUES = {None: "in", "owner": "in", "bounces": "bounces", "join": "command", "confirm": "command"}
ADDRESSES = {  # what each of them asks for: a list, and what of it; None: nothing that there is
    "ant": ("ant", None),
    "bee": ("bee", None),
    "CAT": ("cat", None),
    "ant-owner": ("ant", "owner"),
    "Ant-Admin": ("ant", "owner"),
    "bee-bounces+bart=home.test": ("bee", "bounces"),
    "cat-subscribe": ("cat", "join"),
    "cat-confirm+1234": ("cat", "confirm"),
    "postmaster": (None, None),
    "gnu": None,
    "ant-bogus": None,
    "ant+anne": None,
}


@dataclass
class Client:
    """A client as the model sees it: `wanted` are the accepted recipients of an open transaction, None without one."""

    wire: MemoryWire
    sender: str = NOBODY
    wanted: list[str] | None = None
    chunking: bool = False
    refused: bool = False

    def say(self, line: str) -> str:
        """Return the codes of the replies to a line, separated by blanks."""
        self.wire.send(line.encode() + b"\r\n")
        return codes(self.wire.receive())

    def forget(self) -> None:
        """End the transaction."""
        self.wanted, self.chunking, self.refused = None, False, False


def codes(octets: bytes) -> str:
    """Return the codes of replies, separated by blanks."""
    return " ".join(line[:3] for line in octets.decode().splitlines() if line[3:4] != "-")


which = st.integers(0, 1)
several = st.lists(st.sampled_from(sorted(ADDRESSES)), min_size=1, max_size=4)


class TwoClients(RuleBasedStateMachine):
    """Each rule is an action of a client or of the owner of the lists, with the required reply."""

    def __init__(self) -> None:
        super().__init__()
        self.configuration = cast()
        assert isinstance(self.configuration.directory, MemoryDirectory)
        self.directory = self.configuration.directory
        self.queues = MemoryQueues()
        self.handler = self.configuration.handler(self.queues)
        self.clients = [self.connected(), self.connected()]
        self.lists = {"ant", "bee", "cat"}
        self.posts: list[Post] = []
        self.number = 0

    def connected(self) -> Client:
        """Connect a client and send LHLO."""
        wire = MemoryWire(self.handler, self.configuration.settings)
        wire.send(b"LHLO mta.example\r\n")
        assert codes(wire.receive()) == "220 250"
        return Client(wire)

    # Actions of clients --------------------------------------------------------------------------------------------

    @rule(which=which, sender=st.sampled_from(SENDERS))
    def mail(self, which: int, sender: str) -> None:
        """Send MAIL, in order or out of order."""
        client = self.clients[which]
        expected = "503" if client.wanted is not None else "550" if sender == DANA else "250"
        assert client.say(f"MAIL FROM:<{sender}>") == expected
        if expected == "250":
            client.sender, client.wanted = sender, []

    @rule(which=which, address=st.sampled_from(sorted(ADDRESSES)))
    def rcpt(self, which: int, address: str) -> None:
        """Send RCPT to an existing address or another."""
        client = self.clients[which]
        verdict = "250" if self.may_send(client.sender, address) else "550"
        expected = "503" if client.wanted is None or client.chunking else verdict
        assert client.say(f"RCPT TO:<{address}@lists.example>") == expected
        if expected == "250" and client.wanted is not None:
            client.wanted.append(address)

    @rule(which=which)
    def data(self, which: int) -> None:
        """Send DATA, and a message if DATA is accepted."""
        client = self.clients[which]
        if not client.wanted or client.chunking:
            assert client.say("DATA") == "503"
        elif self.is_hopeless(client):
            assert client.say("DATA") == "554"
        else:
            assert client.say("DATA") == "354"
            self.number += 1
            assert client.say(f"X-Number: {self.number}\r\n\r\n.") == self.finals(client, self.number)

    @rule(which=which, last=st.booleans())
    def bdat(self, which: int, *, last: bool) -> None:
        """Send BDAT; the first chunk names the message."""
        client = self.clients[which]
        said = client.say(f"BDAT 2{' LAST' if last else ''}\r\n")
        if client.wanted is None:
            assert said == "503"
        elif not client.wanted:
            assert said == ("" if last else "503")
            client.wanted = None if last else []
        elif (not client.chunking and self.is_hopeless(client)) or client.refused:
            client.chunking = client.refused = True
            assert said == (" ".join(["554"] * len(client.wanted)) if last else "554")
            if last:
                client.forget()
        else:
            client.chunking = True
            assert said == (self.finals(client, 0) if last else "250")

    @rule(which=which, sender=st.sampled_from(SENDERS), addresses=several, end=st.sampled_from(["DATA", "BDAT", None]), late=st.booleans())
    def write(self, which: int, sender: str, addresses: list[str], end: str | None, *, late: bool) -> None:
        """Send an envelope and usually a message; with `late`, the list is removed in between."""
        self.mail(which, sender)
        for address in addresses:
            self.rcpt(which, address)
        if late:
            self.switch()
        if end == "DATA":
            self.data(which)
        elif end == "BDAT":
            self.bdat(which, last=True)

    @rule(which=which, line=st.sampled_from(["NOOP", "VRFY anne", "EHLO mta.example", "MAIL FROM:anne", "RCPT TO:ant", "BDAT", "nonsense"]))
    def distract(self, which: int, line: str) -> None:
        """Send a command that changes nothing."""
        assert len(self.clients[which].say(line)) == len("250")

    @rule(which=which, line=st.sampled_from(["RSET", "LHLO mta.example", "QUIT", None]))
    def give_up(self, which: int, line: str | None) -> None:
        """Abandon the transaction: with RSET, or by closing with or without QUIT and connecting again."""
        client = self.clients[which]
        assert line is None or client.say(line) == ("221" if line == "QUIT" else "250")
        client.forget()
        if line in {"QUIT", None}:
            client.wire.close()
            self.clients[which] = self.connected()

    # Actions of the owner of the lists ---------------------------------------------------------------------------

    @rule()
    def switch(self) -> None:
        """Remove a list, even during a transaction to it, or add it again."""
        if "bee" in self.lists:
            self.directory.remove("bee@lists.example")
        else:
            self.directory.add(MailingList("bee@lists.example", require_from=False, generic_nonmember_action="accept"))
        self.lists ^= {"bee"}

    # Queued messages -----------------------------------------------------------------------------------------------

    @invariant()
    def keeps_what_was_accepted(self) -> None:
        """Check that exactly the messages answered 250 after the dot are in their queues, once and in order."""
        for name, queue in self.queues.items():
            kept = [Post(name, entry.list, entry.subaddress, entry.reverse_path, int(entry.msg["X-Number"] or 0)) for entry in queue]
            assert kept == [post for post in self.posts if post.queue == name]

    # The rules --------------------------------------------------------------------------------------------------

    def may_send(self, sender: str, address: str) -> bool:
        """Return whether RCPT is accepted: always unless it is a post, for <>, and for senders that the list accepts or holds."""
        asked = ADDRESSES[address]
        if asked is None or asked[0] not in self.lists | {None}:
            return False
        name, subaddress = asked
        return name in {None, "bee", "cat"} or subaddress is not None or sender in MEMBERS["ant"] | {NOBODY}

    def is_hopeless(self, client: Client) -> bool:
        """Return whether DATA is rejected: the sender is <>, and all recipients are posts."""
        return client.sender == NOBODY and all(is_post(address) for address in client.wanted or [])

    def finals(self, client: Client, number: int) -> str:
        """Return the final codes and the queued copies: one for each place, even if a recipient is given twice."""
        answers: dict[object, str] = {}
        for address in client.wanted or []:
            place = (ADDRESSES[address], address.partition("+")[2])
            if place not in answers:
                answers[place] = self.deliver(client.sender, address, number)
        codes = [answers[ADDRESSES[address], address.partition("+")[2]] for address in client.wanted or []]
        client.forget()
        return " ".join(codes)

    def deliver(self, sender: str, address: str, number: int) -> str:
        """Return the code for one recipient."""
        name, subaddress = ADDRESSES[address] or (None, None)
        if name is not None and name not in self.lists:
            return "550"
        if is_post(address) and sender == NOBODY:
            return "554"
        held = is_post(address) and (name, sender) in HELD
        self.posts.append(Post("hold" if held else QUEUES[subaddress], name and f"{name}@lists.example", subaddress, sender, number))
        return "250"

    def teardown(self) -> None:
        """Close both connections."""
        for client in self.clients:
            client.wire.close()


def is_post(address: str) -> bool:
    """Return whether an address is a list's posting address."""
    name, subaddress = ADDRESSES[address] or (None, None)
    return name is not None and subaddress is None
