"""What a page is played in: the server that its transcripts talk to, and the names that its examples begin with."""

import asyncio
import re
from collections.abc import Awaitable
from contextlib import ExitStack
from dataclasses import replace
from logging import ERROR, getLogger
from logging.handlers import BufferingHandler
from tempfile import TemporaryDirectory
from typing import Any

from sybil import Example

from lmtpref import Handler, MemoryQueues, Reply, Server, Settings, show
from lmtpref.config.loader import cast
from lmtpref.doctools.sybil import TranscriptParser
from lmtpref.lists import DEFAULT_POLICY, Decision, Policy, Stage, decide
from lmtpref.lists import handler as list_handler
from lmtpref.testing.replay import SocketWire
from lmtpref.transcripts.memory_wire import MemoryWire, Wire
from lmtpref.transcripts.notation import Transcript
from lmtpref.transcripts.script import Script, converse

FAULTS = BufferingHandler(capacity=10_000)  # what lmtpref logs as an error: a page shows it, or fails
FAULTS.setLevel(ERROR)
getLogger("lmtpref").addHandler(FAULTS)

DECIDED: set[str] = set()  # the rules that have decided anything, since this was last emptied
RULES = {rule.name for rule in DEFAULT_POLICY}


def noted(stage: Stage, rules: Policy, facts: object) -> Decision:
    """As `decide`, and noted."""
    decision = decide(stage, rules, facts)
    DECIDED.update([decision.rule.name] if decision.rule else ())
    return decision


vars(list_handler)["decide"] = noted  # where a handler looks it up


class Transcripts(TranscriptParser):
    """Transcripts that, where they name rules of the policy, are decided by these."""

    def evaluate(self, example: Example) -> str:
        """What is wrong with the server, or with what the transcript says of its rules."""
        DECIDED.clear()
        problem = super().evaluate(example)
        claimed = {name for line in example.parsed.text.splitlines()[:3] for name in re.findall(r"\w+", line) if line.startswith("# rule:")}
        undecided = sorted((claimed & RULES) - DECIDED)
        return problem or (f"rules that decided nothing here: {', '.join(undecided)}" if undecided else "")


class World(ExitStack):
    """What the transcripts of a page talk to: the cast's three lists, until the page serves something else."""

    def __init__(self, wire: str) -> None:
        super().__init__()
        self.wire, self.cast, self.queues = wire, cast(), MemoryQueues()
        self.serve(self.cast.handler(self.queues))

    def serve(self, handler: Handler, settings: Settings | None = None, **changes: Any) -> None:  # noqa: ANN401 - as Settings has them
        """From here on, transcripts talk to a server that asks `handler`, with the cast's settings but for `changes`."""
        self.close()
        self.handler, self.settings = handler, replace(settings or self.cast.settings, **changes)
        if self.wire != "memory":
            listen = f"unix:{self.enter_context(TemporaryDirectory())}/lmtp" if self.wire == "unix" else "127.0.0.1:0"
            self.server = self.enter_context(Server(handler, settings=self.settings, listen=listen))

    def connect(self) -> Wire:
        """A new connection; it ends with the page at the latest."""
        in_memory = self.wire == "memory"
        wire: Wire = MemoryWire(self.handler, self.settings, wait=_wait) if in_memory else SocketWire.dial(self.server.addresses[0])
        self.callback(wire.close)
        return wire

    def faults(self) -> list[str]:
        """What lmtpref has logged as an error since this was last asked."""
        messages = [record.getMessage() for record in FAULTS.buffer]
        FAULTS.flush()
        return messages


def _wait(answer: Awaitable[Reply | None]) -> Reply | None:
    """The answer of a hook that waits, once it comes."""

    async def awaited() -> Reply | None:
        return await answer

    return asyncio.run(awaited())


def begin(wire: str, page: dict[str, Any]) -> None:
    """Begin a page's world, whatever the pages before it did."""
    FAULTS.flush()
    world = World(wire)
    page.update(world=world, lists=world.cast.directory, queues=world.queues, show=show, Server=Server)


def end(page: dict[str, Any]) -> None:
    """End it; what went wrong in it and was not shown fails the page."""
    page["world"].close()
    assert not (unseen := page["world"].faults()), f"errors were logged that the page did not show: {unseen}"


def connect(page: dict[str, Any]) -> Wire:
    """A connection to what the page's transcripts talk to."""
    wire: Wire = page["world"].connect()
    return wire


def flip(transcript: Transcript, page: dict[str, Any]) -> str:
    """Why the page's `client` did not say what the transcript says; nothing if it did."""
    return converse(page["client"], Script(transcript)).explain()
