"""Servers for tests, in any framework: one that records messages and injects faults, and one that plays a script.

With pytest they are the fixtures `lmtp_server` and `lmtp_script`; without, `with` blocks::

    with LmtpServer() as server:
        server.on("RCPT", to="jones@foo.example").reply(550, "5.1.1", "No such user")
        send_something_to(server.host, server.port)
        [message] = server.wait_for(1)

    with play_script("our-pages.rst#polite-client") as address:
        send_something_to(address.host, address.port)
"""

from __future__ import annotations

import contextlib
import socket
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from lmtpref.lists import Mailboxes, MailingList, MemoryQueues
from lmtpref.lists.arrivals import WAIT_SECONDS
from lmtpref.net.listeners import tcp_among, unix_among
from lmtpref.protocol.errors import TranscriptError, UsageError
from lmtpref.protocol.handler import Handler
from lmtpref.server import DEFAULT_SETTINGS, Server
from lmtpref.testing.fault_injector import FaultInjector
from lmtpref.testing.faults import Fault
from lmtpref.testing.recorder import Message, Recorder
from lmtpref.testing.replay import SCRIPT_SECONDS, serve_script
from lmtpref.transcripts.finder import find
from lmtpref.transcripts.notation import Transcript, parse
from lmtpref.transcripts.script import Script

IDLE_WAIT_SECONDS = 2.0  # how long hooks may still run at the end of a test
_OF_A_TEST = frozenset({"handler", "lists"})  # the options that can be replaced in a running server


class LmtpServer(Server[MemoryQueues]):
    """A `Server` that records its conversations, and injects the faults that a test asks for; the options are `Server`'s.

    At the end of a `with` block, a fault that did not happen and a hook that raised cause an AssertionError.  If the block itself
    failed, the hook's exception is raised from that failure.
    """

    def __init__(self, handler: Handler | None = None, *, lists: Iterable[MailingList] | None = None, **options: Any) -> None:  # noqa: ANN401 - as Server has them
        self._recorder = Recorder()
        self._hostname = options.get("settings", DEFAULT_SETTINGS).hostname
        self._given = (handler, None if lists is None else list(lists))
        super().__init__(*self._given[:1], lists=self._given[1], interpose=partial(FaultInjector, self._recorder), **options)

    @property
    def address(self) -> str:
        """The address of the first listener: HOST:PORT or unix:PATH."""
        return self.addresses[0]

    @property
    def url(self) -> str:
        """The first TCP listener as a URL: lmtp://HOST:PORT."""
        return f"lmtp://{tcp_among(self.addresses)}"

    def on(self, command: str, *, to: str | None = None, after: int = 0) -> Fault:
        """Return a fault at `command`: a verb, ``"connect"``, or ``"."`` for a recipient's reply after the end of the message.

        `to` limits it to one recipient; `after` skips that many occasions.  The methods of `Fault` say what happens:
        reply, delay, drop, reset, stall, slice.
        """
        return self._recorder.faults.on(command, to=to, after=after)

    @property
    def messages(self) -> list[Message]:
        """The messages that were accepted for at least one recipient."""
        return list(self._recorder.messages)

    def wait_for(self, count: int, timeout: float = WAIT_SECONDS) -> list[Message]:
        """Return the messages as soon as there are `count`.

        Raises NotArrivedError, an AssertionError with the transcript in its text, if there are fewer after `timeout` seconds.
        Raises UsageError on an event loop, which the call would block.
        """
        __tracebackhide__ = True  # pytest then shows the test's own line
        return self._recorder.messages.wait_for(count, timeout)

    async def wait_for_async(self, count: int, timeout: float = WAIT_SECONDS) -> list[Message]:  # noqa: ASYNC109 - as wait_for has it
        """Do the same as `wait_for` for tests on an event loop."""
        __tracebackhide__ = True
        return await self._recorder.messages.wait_for_async(count, timeout)

    @property
    def transcripts(self) -> list[str]:
        """The transcript of each connection."""
        return self._recorder.transcripts

    @property
    def transcript(self) -> str:
        """The transcripts of all connections as one text, separated by empty lines."""
        return "\n".join(self.transcripts)

    def clear(self) -> None:
        """Reset the server: no connections, messages, faults or transcripts, and the original handler and lists."""
        self.begin(*self._given)

    def begin(self, handler: Handler | None = None, lists: Iterable[MailingList] | None = None) -> None:
        """Reset the server, with another handler or other lists."""
        self._given = (handler, None if lists is None else list(lists))
        self._thread.run(self._engine.drop_connections())
        self._recorder.clear()
        self._lists = self._queues = None
        if handler is None:
            handler = Mailboxes() if self._given[1] is None else self._list_handler(self._given[1], self._hostname)
        self.handler = handler

    @property
    def failures(self) -> list[BaseException]:
        """The exceptions of the handler's hooks."""
        return self._recorder.failures

    def wait_idle(self) -> None:
        """Wait until all input from clients is answered, for at most IDLE_WAIT_SECONDS.

        Return at once if the server is stopped.
        """
        with contextlib.suppress(UsageError):
            self._thread.run(self._engine.wait_until(self._is_idle, IDLE_WAIT_SECONDS))

    @property
    def is_running(self) -> bool:
        """Whether the server runs; a test may have stopped it, and so may a hook that raised SystemExit."""
        return self._thread.is_running

    @property
    def missing(self) -> list[str]:
        """The faults that did not happen, a line each."""
        return self._recorder.faults.missing

    def check(self) -> None:
        """Check that all faults happened and no hook raised.  Raises AssertionError that describes the problem."""
        self.check_handler()
        if self.missing:
            raise AssertionError("\n".join(self.missing))

    def check_handler(self) -> None:
        """Check that no hook raised.  Raises AssertionError from the first hook's exception."""
        __tracebackhide__ = True
        if self.failures:
            problems = [f"a hook of the handler failed: {error!r}" for error in self.failures]
            raise AssertionError("\n".join(problems)) from self.failures[0]

    def _is_idle(self) -> bool:
        return not any(conversation.has_pending_hook for conversation in self._recorder.conversations)

    def __exit__(self, *raised: object) -> None:
        try:
            self.wait_idle()
        finally:
            self.stop()
        self._judge(raised[1])

    async def __aexit__(self, *raised: object) -> None:
        await self._engine.wait_until(self._is_idle, IDLE_WAIT_SECONDS)
        await super().__aexit__(*raised)
        self._judge(raised[1])

    def _judge(self, error: object) -> None:
        if error is None:
            self.check()
        else:
            self.check_handler()


class ServerPool(contextlib.ExitStack):
    """Servers that run until the end of the `with` block, one for each configuration apart from handler and lists."""

    def __init__(self) -> None:
        super().__init__()
        self._servers: list[tuple[Mapping[str, Any], LmtpServer]] = []

    def take(self, config: Mapping[str, Any]) -> LmtpServer:
        """Return a server with these arguments in its initial state; create a new one if a test has stopped it."""
        server_options = {key: value for key, value in config.items() if key not in _OF_A_TEST}
        running = (server for other, server in self._servers if other == server_options and server.is_running)
        server = next(running, None) or self._start(server_options)
        server.begin(config.get("handler"), config.get("lists"))
        return server

    def _start(self, options: Mapping[str, Any]) -> LmtpServer:
        server = LmtpServer(**{"listen": self._any_addresses(), **options})
        server.start()
        self.callback(server.stop)
        self._servers.append((options, server))
        return server

    def _any_addresses(self) -> list[str]:
        """Return a TCP port that the system chooses, and a Unix socket on systems that have them."""
        if not hasattr(socket, "AF_UNIX"):
            return ["127.0.0.1:0"]
        return ["127.0.0.1:0", f"unix:{self.enter_context(tempfile.TemporaryDirectory(prefix='lmtp-'))}/lmtp.sock"]


class ServerAddress(str):
    """The address of a server, HOST:PORT or unix:PATH, and its parts."""

    __slots__ = ()

    @property
    def host(self) -> str:
        """The host.  Raises UsageError for a Unix socket."""
        return tcp_among([self]).host

    @property
    def port(self) -> int:
        """The port.  Raises UsageError for a Unix socket."""
        return tcp_among([self]).port

    @property
    def unix_path(self) -> str:
        """The path of a Unix socket.  Raises UsageError for a TCP port."""
        return unix_among([self]).path


@contextlib.contextmanager
def play_script(
    transcript: str | Transcript, *, base: Path | None = None, listen: str = "127.0.0.1:0", timeout: float = SCRIPT_SECONDS
) -> Iterator[ServerAddress]:
    """Play the server's side of `transcript` to the first client that sends something; yield the address.

    `transcript` may be its text, its place FILE.rst#ID, a FILE, or the ID of one in lmtpref's documents; a FILE is looked for in
    the folder `base` first.  At the end of the block, TranscriptError reports where the client left the script; it takes precedence
    over an exception from the block.
    """
    __tracebackhide__ = True
    if isinstance(transcript, str):
        transcript = parse(transcript) if "\n" in transcript else find(transcript, base=base)
    script = Script(transcript)
    try:
        with serve_script(script, listen, seconds=timeout) as address:
            yield ServerAddress(address)
    except Exception as error:
        if script.verdict == "mismatch":
            raise TranscriptError(script.explain()) from error
        if script.verdict != "played":
            error.add_note(script.explain())
        raise
    if script.verdict != "played":
        raise TranscriptError(script.explain())
