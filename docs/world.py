"""The world of a page: the names its examples begin with, and the server its transcripts talk to."""

import asyncio
import re
import ssl
from collections.abc import Awaitable
from contextlib import ExitStack
from functools import cache
from logging import ERROR, getLogger
from logging.handlers import BufferingHandler
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import trustme
from sybil import Example

from lmtpref import Handler, ListHandler, MemoryQueues, Reply, Server, Settings, show
from lmtpref.config import cast
from lmtpref.doctools.clauses import read_clauses
from lmtpref.doctools.sybil import TranscriptParser
from lmtpref.lists import DEFAULT_POLICY, Decision
from lmtpref.net.socket_wire import SocketWire
from lmtpref.transcripts.memory_wire import MemoryWire, Wire
from lmtpref.transcripts.notation import Transcript
from lmtpref.transcripts.script import Script, converse

ERRORS = BufferingHandler(capacity=10_000)
ERRORS.setLevel(ERROR)
getLogger("lmtpref").addHandler(ERRORS)

RULES = {rule.name for rule in DEFAULT_POLICY}

# How each clause is shown: whether the reply that it asks for is the list server's choice, or that of a handler on the page.
HOW = {clause.id: clause.how for clause in read_clauses(Path(__file__).parent)[1]}


class Transcripts(TranscriptParser):
    """Transcripts whose `# rule:` lines may name rules of the policy: each of those must decide something."""

    def evaluate(self, example: Example) -> str:
        """Return why the server, or a claim about its rules, differs from the transcript."""
        deciding: set[str] = example.namespace["world"].deciding
        deciding.clear()
        problem = super().evaluate(example)
        claimed = {name for line in example.parsed.text.splitlines()[:3] for name in re.findall(r"\w+", line) if line.startswith("# rule:")}
        undecided = sorted((claimed & RULES) - deciding)
        problem = problem or (f"rules that decided nothing here: {', '.join(undecided)}" if undecided else "")
        return problem or chosen_elsewhere(example.parsed.parse(), example.namespace["world"])


def chosen_elsewhere(transcript: Transcript, world: "World") -> str:
    """Return which cited clauses ask for a reply that another handler chooses than the one that their `how` names."""
    handler = world.server.handler if world.server else world.handler
    ours = type(handler).__module__.startswith("lmtpref.")
    kind, chooses = ("handler", "the list server") if ours else ("policy", "a handler of this page")
    wrong = [id_ for id_ in transcript.values("rule") if kind in HOW.get(id_, ())]
    return f"{chooses} chooses the replies here, which does not show {', '.join(wrong)}" if wrong else ""


class World(ExitStack):
    """The server that a page's transcripts talk to.

    It is the running `server` or the `handler` that the page bound last, with the page's `settings`; a page begins with the
    cast's three lists.  A page may also name it with `serve`.
    """

    def __init__(self, wire: str, page: dict[str, Any]) -> None:
        super().__init__()
        self.wire, self.page, self.cast, self.queues = wire, page, cast(), MemoryQueues()
        self.deciding: set[str] = set()  # the rules that decided anything since this was last emptied
        self.server: Server | None = None  # one of the page's own, while it runs
        self._ours: Server | None = None  # serves `handler` on sockets
        self._served: tuple[object, object] | None = None
        self._seen_server: object = None
        page.update(
            world=self,
            cast=self.cast,
            handler=self.cast.handler(self.queues),
            settings=self.cast.settings,
            lists=self.cast.directory,
            queues=self.queues,
            show=show,
            Server=Server,
            connect=self.connect,
            at_end=self.callback,
            logged_errors=self.faults,
        )

    @property
    def handler(self) -> Handler:
        """The handler that transcripts reach, unless the page runs a server of its own."""
        handler: Handler = self.page["handler"]
        return handler

    @property
    def settings(self) -> Settings:
        """The settings that go with it."""
        settings: Settings = self.page["settings"]
        return settings

    def serve(self, handler: Handler, **changes: Any) -> None:  # noqa: ANN401 - as Settings has them
        """Bind `handler`, and the cast's settings with these changes."""
        self.page.update(handler=handler, settings=Settings(**{"hostname": self.cast.settings.hostname, **changes}))

    def connect(self) -> Wire:
        """Open a connection, which ends with the page at the latest."""
        self._notice_what_was_bound()
        if isinstance(self.handler, ListHandler) and self.handler.on_decision is None:
            self.handler.on_decision = self._note
        if self.server:
            wire: Wire = SocketWire.dial(self.server.addresses[0])
        elif self._ours:
            wire = SocketWire.dial(self._ours.addresses[0])
        else:
            wire = MemoryWire(self.handler, self.settings, wait=_wait)
        self.callback(wire.close)
        return wire

    def faults(self) -> list[str]:
        """Return the errors that lmtpref has logged since the last call."""
        messages = [record.getMessage() for record in ERRORS.buffer]
        ERRORS.flush()
        return messages

    def _notice_what_was_bound(self) -> None:
        """Find the page's running server if it is newer than the handler; serve a new handler on sockets if the wire asks for them."""
        bound, server = (self.handler, self.settings), self.page.get("server")
        if server is not self._seen_server:
            self._seen_server = server
            self.server = server if isinstance(server, Server) else None
        elif bound != self._served:
            self.server = None
        if self.server and not self.server.addresses:
            self.server = None
        if bound != self._served:
            self._served = bound
            self._ours = self._start() if self.wire != "memory" else None

    def _start(self) -> Server:
        listen = f"unix:{self.enter_context(TemporaryDirectory())}/lmtp" if self.wire == "unix" else "127.0.0.1:0"
        tls = _certificate() if self.settings.starttls else None
        return self.enter_context(Server(self.handler, settings=self.settings, listen=listen, tls=tls))

    def _note(self, decision: Decision, _facts: object) -> None:
        self.deciding.update([decision.rule.name] if decision.rule else ())


@cache
def _certificate() -> ssl.SSLContext:
    """Return a server's TLS context, with a certificate of its own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("lists.example").configure_cert(context)
    return context


def _wait(answer: Awaitable[Reply | None]) -> Reply | None:
    """Return the answer of a hook that waits."""

    async def awaited() -> Reply | None:
        return await answer

    return asyncio.run(awaited())


def begin(wire: str, page: dict[str, Any]) -> None:
    """Begin a page's world, independent of the pages before it."""
    ERRORS.flush()
    World(wire, page)


def end(page: dict[str, Any]) -> None:
    """End it.  An error that was logged and that the page did not show fails the page."""
    page["world"].close()
    assert not (unseen := page["world"].faults()), f"errors were logged that the page did not show: {unseen}"


def connect(page: dict[str, Any]) -> Wire:
    """Open a connection to the server of the page's transcripts."""
    wire: Wire = page["world"].connect()
    return wire


def flip(transcript: Transcript, page: dict[str, Any]) -> str:
    """Return how the page's `client` departed from the transcript; an empty text if it did not."""
    return converse(page["client"], Script(transcript)).explain()
