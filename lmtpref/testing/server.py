"""Servers for tests, in any framework: one with its messages, its faults, and what was said to it; one that has a script.

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

IDLE_WAIT_SECONDS = 2.0  # how long, at the end of a test, hooks may still be at work
_OF_A_TEST = frozenset({"handler", "lists"})  # what a server that runs can be given anew


class LmtpServer(Server[MemoryQueues]):
    """A `Server` that is watched, and has the faults that a test gives it; the options are `Server`'s.

    At the end of a `with` block, a fault that did not happen and a hook that raised are an AssertionError; if the block itself
    failed, a hook that raised is raised from that failure.
    """

    def __init__(self, handler: Handler | None = None, *, lists: Iterable[MailingList] | None = None, **options: Any) -> None:  # noqa: ANN401 - as Server has them
        self._recorder = Recorder()
        self._hostname = options.get("settings", DEFAULT_SETTINGS).hostname
        self._given = (handler, None if lists is None else list(lists))
        super().__init__(*self._given[:1], lists=self._given[1], interpose=partial(FaultInjector, self._recorder), **options)

    @property
    def address(self) -> str:
        """Where its first listener is: HOST:PORT or unix:PATH."""
        return self.addresses[0]

    @property
    def url(self) -> str:
        """Its first TCP listener as a URL: lmtp://HOST:PORT."""
        return f"lmtp://{tcp_among(self.addresses)}"

    def on(self, command: str, *, to: str | None = None, after: int = 0) -> Fault:
        """Return a fault at `command`: a verb, ``"connect"``, or ``"."`` for a recipient's reply after the end of the message.

        `to` limits it to one recipient, `after` leaves out so many occasions.  What is to happen is said with the methods of
        `Fault`: reply, delay, drop, reset, stall, slice.
        """
        return self._recorder.faults.on(command, to=to, after=after)

    @property
    def messages(self) -> list[Message]:
        """The messages that at least one recipient was answered 2xx for."""
        return list(self._recorder.messages)

    def wait_for(self, count: int, timeout: float = WAIT_SECONDS) -> list[Message]:
        """Return the messages, as soon as there are `count`.

        Raises NotArrivedError, an AssertionError with the transcript in its text, if there are fewer after `timeout` seconds.
        Raises UsageError on an event loop, which this would block.
        """
        __tracebackhide__ = True  # in pytest's failures: it is the test's own line that matters
        return self._recorder.messages.wait_for(count, timeout)

    async def wait_for_async(self, count: int, timeout: float = WAIT_SECONDS) -> list[Message]:  # noqa: ASYNC109 - as wait_for has it
        """Return as `wait_for` does, for tests on an event loop."""
        __tracebackhide__ = True
        return await self._recorder.messages.wait_for_async(count, timeout)

    @property
    def transcripts(self) -> list[str]:
        """What was said on each connection, as transcripts."""
        return self._recorder.transcripts

    @property
    def transcript(self) -> str:
        """What was said, as a transcript; of several connections one behind the other, with an empty line between them."""
        return "\n".join(self.transcripts)

    def clear(self) -> None:
        """Begin anew: no connection, no message, no fault, nothing said, the handler and the lists as they were given."""
        self.begin(*self._given)

    def begin(self, handler: Handler | None = None, lists: Iterable[MailingList] | None = None) -> None:
        """Begin anew, with another handler or other lists."""
        self._given = (handler, None if lists is None else list(lists))
        self._thread.run(self._engine.drop_connections())
        self._recorder.clear()
        self._lists = self._queues = None
        if handler is None:
            handler = Mailboxes() if self._given[1] is None else self._list_handler(self._given[1], self._hostname)
        self.handler = handler

    @property
    def failures(self) -> list[BaseException]:
        """What hooks of its handler raised."""
        return self._recorder.failures

    def wait_idle(self) -> None:
        """Wait until everything that clients have sent is answered, for at most IDLE_WAIT_SECONDS.

        Return at once if the server is stopped.
        """
        with contextlib.suppress(UsageError):
            self._thread.run(self._engine.wait_until(self._is_idle, IDLE_WAIT_SECONDS))

    @property
    def is_running(self) -> bool:
        """Whether it runs in its thread: a test may have stopped it, and so may a hook that raised SystemExit."""
        return self._thread.is_running

    @property
    def missing(self) -> list[str]:
        """The faults that were to happen and did not, a line each."""
        return self._recorder.faults.missing

    def check(self) -> None:
        """Return if all faults happened, and no hook raised.  Raises AssertionError that says what was amiss."""
        self.check_handler()
        if self.missing:
            raise AssertionError("\n".join(self.missing))

    def check_handler(self) -> None:
        """Return if no hook raised.  Raises AssertionError from the first one's exception."""
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
    """Servers that run as long as the `with` block, one for each configuration but for handler and lists."""

    def __init__(self) -> None:
        super().__init__()
        self._servers: list[tuple[Mapping[str, Any], LmtpServer]] = []

    def take(self, config: Mapping[str, Any]) -> LmtpServer:
        """Return a server made with these arguments, as if it had just been started; another one if a test has stopped it."""
        lasting = {key: value for key, value in config.items() if key not in _OF_A_TEST}
        running = (server for other, server in self._servers if other == lasting and server.is_running)
        server = next(running, None) or self._start(lasting)
        server.begin(config.get("handler"), config.get("lists"))
        return server

    def _start(self, options: Mapping[str, Any]) -> LmtpServer:
        server = LmtpServer(**{"listen": self._anywhere(), **options})
        server.start()
        self.callback(server.stop)
        self._servers.append((options, server))
        return server

    def _anywhere(self) -> list[str]:
        """Return a TCP port that the system chooses, and a Unix socket where there are any."""
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
    """Play the server's side of `transcript` to whoever comes first; the address.

    `transcript` may be its text, its place FILE.rst#ID, a FILE, or the ID of one that comes with lmtpref; a FILE is looked for in
    the folder `base` first.  At the end of the block TranscriptError says where the client left the script, whatever else went wrong
    in the block because of that.
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
