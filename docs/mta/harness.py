"""What the pages about MTAs are played with: a folder, the configurations that they show, and processes, all stopped by their ids."""

from __future__ import annotations

import os
import platform
import re
import selectors
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any, Self

import pytest
from debian import MissingToolError, run
from sybil import Document, Example, Region
from sybil.parsers.rest.lexers import DirectiveLexer

from lmtpref.lists import Entry, Spool
from lmtpref.net.listeners import TcpAddress, parse_address
from lmtpref.net.replay import serve_script
from lmtpref.protocol.errors import UsageError
from lmtpref.protocol.script import Script
from lmtpref.protocol.transcript import Who, parse
from lmtpref.protocol.transcript_record import Recording

DEBIAN = ("debian", "12")  # other versions say other things
SECONDS = 20.0  # how long anything here may take
WILDCARD = "[...]"
TAB = "\N{SYMBOL FOR HORIZONTAL TABULATION}"
_TICK_SECONDS = 0.02
_PLAYED = ("python", "dialogue")  # languages that are no configuration
_BLOCK = DirectiveLexer("code-block")


class Shown:
    """Finds what a page shows, in the order in which it does: configurations and scripts, by their names, and dialogues.

    A configuration is kept in `page.shown`, so that what is tested is what is shown; one that is never used fails the page.
    A dialogue is compared with the variable `dialogue`, that the example before it has set.
    """

    def __call__(self, document: Document) -> Iterator[Region]:
        """The blocks of `document`, as Sybil wants them."""
        for region in _BLOCK(document):
            language, name = (region.lexemes["arguments"] or "").strip(), region.lexemes["options"].get("name", "").strip()
            text = str(region.lexemes["source"])
            if language == "dialogue":
                yield Region(region.start, region.end, text, self.compare)
            elif name and language not in _PLAYED:
                yield Region(region.start, region.end, (name, text), self.keep)

    def keep(self, example: Example) -> None:
        """Keep a configuration under its name."""
        name, text = example.parsed
        example.namespace["page"].shown[name] = text

    def compare(self, example: Example) -> str:
        """Why `dialogue` is not what is shown; nothing if it is."""
        return differs(example.parsed, example.namespace["dialogue"])


def differs(shown: str, came: str) -> str:
    """Nothing if `came` is what is `shown`, wildcards apart; else both, from the first line on that differs."""
    expected, got = shown.strip().splitlines(), came.strip().splitlines()
    same = 0
    while same < min(len(expected), len(got)) and _agrees(expected[same], got[same]):
        same += 1
    if same == len(expected) == len(got):
        return ""
    return "\n".join(["shown:", *expected[same:], "came:", *got[same:]])


def _agrees(shown: str, came: str) -> bool:
    return bool(re.fullmatch(".*".join(map(re.escape, shown.split(WILDCARD))), came))


class Page(ExitStack):
    """What a page has while it is played; everything ends with it."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(self.enter_context(TemporaryDirectory(prefix="lmtpref-", ignore_cleanup_errors=True)))
        self.folder.chmod(0o755)  # an MTA's processes are of several users
        self.shown: dict[str, str] = {}
        self.used: set[str] = set()
        self.values: dict[str, object] = {"FOLDER": self.folder}

    def text(self, *names: str, **values: object) -> str:
        """The configurations that the page shows under these names, with what stands for each word in capitals."""
        self.used.update(names)
        words = self.values | values
        pattern = re.compile(rf"\b({'|'.join(words)})\b")
        return "\n".join(pattern.sub(lambda word: str(words[word[1]]), self.shown[name]) for name in names)

    def write(self, file: str | Path, *names: str, **values: object) -> Path:
        """Write these configurations into `file`, in the page's folder."""
        path = self.folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.text(*names, **values))
        return path

    def lists(self, name: str, *options: str, group: str | None = None, into: Sequence[str] = ()) -> Lists:
        """`lmtpref serve`, with the configuration that the page shows under `name`; it ends with the page at the latest.

        `into` is what the command begins with, such as nsenter.
        """
        lists = Lists(self.folder, self.write(f"{name}.toml", name), *options, group=group, into=into)
        self.callback(lists.stop)
        return lists

    def lmtpref(self, *arguments: str | Path) -> str:
        """What a command of lmtpref prints."""
        return run(sys.executable, "-m", "lmtpref.tools.cli", *arguments)

    def process(self, *arguments: str | Path, group: str | None = None) -> Process:
        """A command of lmtpref that goes on until the page ends."""
        process = Process(sys.executable, "-m", "lmtpref.tools.cli", *arguments, group=group)
        self.callback(process.stop)
        return process

    @contextmanager
    def script(self, *names: str, port: int) -> Iterator[None]:
        """Servers that say what these transcripts of the page say, to one client each, one after the other.

        Raises AssertionError at the end if a client said anything else.
        """
        scripts = {name: Script(parse(self.text(name), path=name)) for name in names}
        address = f"127.0.0.1:{port}"
        with ExitStack() as servers:
            for number, (name, script) in enumerate(scripts.items()):
                wait_until(partial(_serves, servers, script, address), f"the client before that of {name}")
                if number == 0:
                    yield
            for name, script in scripts.items():
                wait_until(lambda script=script: script.closed, f"the script {name}")  # type: ignore[misc]  # a default is as good as a type
        for script in scripts.values():
            assert not script.explain(), script.explain()

    def tap(self, upstream: str, listen: str = "127.0.0.1:0") -> Tap:
        """A listener that passes everything on to `upstream`, and records it."""
        return self.enter_context(Tap(upstream, listen))


class Process:
    """A process that ends with its block: asked first, then killed."""

    def __init__(self, *command: str | Path, environment: Mapping[str, str] | None = None, group: str | None = None) -> None:
        self._process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            group=group,
        )

    def line(self) -> str:
        """The next line that it prints; empty when it has ended."""
        assert self._process.stdout
        return self._process.stdout.readline().rstrip("\n")

    def tell(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def stop(self) -> None:
        """End it; nothing happens if it has ended."""
        with suppress(ProcessLookupError):
            self._process.terminate()
        try:
            self._process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()


class Lists(Process):
    """`lmtpref serve` on a free port of loopback and on a Unix socket of `group`, with a spool on disk."""

    def __init__(self, folder: Path, configuration: Path, *options: str, group: str | None = None, into: Sequence[str] = ()) -> None:
        self.spool = folder / "spool"
        listen = ("--listen", "127.0.0.1:0", "--listen", f"unix:{folder}/lmtp.sock")
        command = (sys.executable, "-m", "lmtpref.tools.cli", "serve", configuration, "--spool", self.spool)
        super().__init__(*into, *command, *(options or listen), group=group)
        self.addresses = []
        for _ in (options or listen)[::2]:
            said = self.line()
            assert said.startswith("listening on "), said
            self.addresses.append(said.removeprefix("listening on "))

    @property
    def port(self) -> int:
        """The port of its first TCP listener."""
        return next(address.port for address in map(parse_address, self.addresses) if isinstance(address, TcpAddress))

    def queued(self, queue: str = "in") -> list[Entry]:
        """What is in a queue now, oldest first."""
        return [file.entry() for file in Spool(self.spool)[queue].stored()]

    def wait_for(self, count: int, queue: str = "in") -> list[Entry]:
        """What is in a queue, once there are `count`, and no more after."""
        wait_until(lambda: len(self.queued(queue)) >= count, f"{count} entries in {queue}")
        return self.queued(queue)


class Tap:
    """A listener that passes what it hears on to `upstream`, and what that says back; each connection is recorded.

    `writes` is who sent what, as it came: what was written at once mostly comes at once.
    """

    def __init__(self, upstream: str, listen: str = "127.0.0.1:0") -> None:
        self._upstream = upstream
        place = parse_address(listen)
        if isinstance(place, TcpAddress):
            self._listening = socket.create_server(place)
            self.port: int = self._listening.getsockname()[1]
        else:
            self._listening = socket.socket(socket.AF_UNIX)
            self._listening.bind(place.path)
            Path(place.path).chmod(0o777)  # whoever the MTA's process is
            self._listening.listen()
        self._recordings: list[_Recording] = []
        self.writes: list[tuple[str, bytes]] = []
        self._thread = Thread(target=self._accept, daemon=True)
        self._thread.start()

    def dialogues(self, count: int = 1) -> list[str]:
        """What was said on each connection since this was last asked, in their order, once `count` have ended."""
        wait_until(lambda: sum(recording.ended for recording in self._recordings) >= count, f"{count} connections to end")
        recordings, self._recordings = self._recordings, []
        return [readable(str(recording)) for recording in recordings]

    def dialogue(self) -> str:
        """What was said on the one connection since this was last asked, once it has ended."""
        [dialogue] = self.dialogues()
        return dialogue

    def _accept(self) -> None:
        with suppress(OSError):  # it was closed
            while True:
                connected, _ = self._listening.accept()
                Thread(target=self._pass_on, args=[connected], daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        recording = _Recording()
        self._recordings.append(recording)
        with client, suppress(OSError), connect(self._upstream) as server, selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ)
            selector.register(server, selectors.EVENT_READ)
            while server in {key.fileobj for key in selector.get_map().values()}:
                for key, _ in selector.select():
                    source, other = (client, server) if key.fileobj is client else (server, client)
                    if not self._move(recording, "C" if source is client else "S", source, other):
                        selector.unregister(source)
        recording.ended = True

    def _move(self, recording: Recording, who: Who, source: socket.socket, other: socket.socket) -> bool:
        """Pass on what has come; False at the end.  A client that has gone does not keep the server's last words from us."""
        octets = b""
        with suppress(ConnectionError):
            octets = source.recv(65536)
        if octets:
            recording.add(who, octets)
            self.writes.append((who, octets))
        with suppress(OSError):
            other.sendall(octets) if octets else other.shutdown(socket.SHUT_WR)
        return bool(octets)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)  # which wakes accept
        self._listening.close()
        self._thread.join(SECONDS)


class _Recording(Recording):
    ended = False  # both sides have nothing more to say


def connect(address: str) -> socket.socket:
    """A socket that is connected to HOST:PORT or unix:PATH."""
    place = parse_address(address)
    if isinstance(place, TcpAddress):
        return socket.create_connection(place, SECONDS)
    connected = socket.socket(socket.AF_UNIX)
    connected.connect(place.path)
    return connected


def _serves(servers: ExitStack, script: Script, address: str) -> bool:
    """Whether the script is served from now on: it is as soon as the one before has met its client, so that nobody finds the door shut."""
    try:
        servers.enter_context(serve_script(script, address))
    except UsageError:  # the address is in use
        return False
    return True


def submit(port: int, sender: str, *recipients: str, message: str | bytes = "", also: Sequence[str] = ()) -> str:
    """What a client says and hears who offers a message to an MTA on this port, from behind the reply to EHLO on.

    It says one command at a time, goes on to DATA when a recipient was accepted and there is a message, and to QUIT in the
    end.  `also` are parameters of MAIL.
    """
    with connect(f"127.0.0.1:{port}") as client:
        client.settimeout(SECONDS)
        conversation = Conversation(client)
        conversation.hear()
        conversation.say("EHLO client.example")
        conversation.recording = Recording()
        accepted = False
        if conversation.say(" ".join([f"MAIL FROM:<{sender}>", *also])) < 400:
            codes = [conversation.say(f"RCPT TO:<{recipient}>") for recipient in recipients]
            accepted = min(codes) < 400
        if accepted and message and conversation.say("DATA") == 354:
            content = message.encode() if isinstance(message, str) else message
            conversation.tell(stuffed(content))
            conversation.hear()
        conversation.say("QUIT")
        return str(conversation.recording)


class Conversation:
    """A client's side of SMTP, one command at a time."""

    def __init__(self, connected: socket.socket) -> None:
        self.recording = Recording()
        self._socket = connected
        self._lines = connected.makefile("rb")

    def say(self, command: str) -> int:
        """Say a command; the code of the reply."""
        self.tell(f"{command}\r\n".encode())
        return self.hear()

    def tell(self, octets: bytes) -> None:
        """Say octets, and wait for nothing."""
        self.recording.add("C", octets)
        self._socket.sendall(octets)

    def hear(self) -> int:
        """The code of the next reply."""
        line = b"   -"
        while line[3:4] == b"-":
            line = self._lines.readline()
            self.recording.add("S", line)
        return int(line[:3] or b"0")


def readable(recorded: str) -> str:
    """What was recorded, with tabs as they can be seen in a document."""
    return re.sub(r"<raw ((?:[0-9a-f]{2} )+)0d 0a>", lambda mark: bytes.fromhex(mark[1]).decode("latin-1").replace("\t", TAB), recorded)


def stuffed(content: bytes) -> bytes:
    """`content` as DATA sends it: with CRLFs, its dots stuffed, and the final dot."""
    lines = re.sub(rb"\r?\n", b"\r\n", textwrap.dedent(content.decode("latin-1")).lstrip("\n").encode("latin-1"))
    lines = lines if lines.endswith(b"\r\n") else lines + b"\r\n"
    return re.sub(rb"(?m)^\.", b"..", lines) + b".\r\n"


def wait_until(done: Callable[[], object], what: str, seconds: float = SECONDS) -> None:
    """Wait until `done`.  Raises TimeoutError, naming `what` was waited for."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        time.sleep(_TICK_SECONDS)


def answers(port: int) -> bool:
    """Whether somebody accepts connections on this port of loopback."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def free_port() -> int:
    """A port of loopback that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def runs_here() -> str:
    """Why the MTAs of these pages cannot be run here; nothing if they can."""
    try:
        system = platform.freedesktop_os_release()
    except OSError:
        system = {"PRETTY_NAME": platform.system()}
    if (system.get("ID"), system.get("VERSION_ID")) != DEBIAN:
        return f"Postfix, Exim, Sendmail: the pages have those of Debian 12, and this is {system['PRETTY_NAME']}"
    return "" if os.geteuid() == 0 else "Postfix, Exim, Sendmail: they have to be started by root"


def begin_page(names: dict[str, Any]) -> None:
    """Begin a page about an MTA; where none can be run its examples are skipped, and say why, but never in CI."""
    if reason := runs_here():
        if os.environ.get("CI"):
            raise MissingToolError(reason)
        pytest.skip(reason)
    names.update(page=Page(), submit=submit, wait_until=wait_until, serve_script=serve_script)


def end_page(names: dict[str, Any]) -> None:
    """End it, and everything that it started."""
    if page := names.get("page"):
        page.close()
        assert not (unused := page.shown.keys() - page.used), f"shown, but never used: {sorted(unused)}"


PARSERS = [Shown()]
