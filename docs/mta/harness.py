"""The harness of the pages about MTAs: a folder, their configurations, and processes that are stopped by their ids."""

from __future__ import annotations

import os
import platform
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from debian import MissingToolError, run
from sybil import Document, Example, Region
from sybil.parsers.rest.lexers import DirectiveLexer
from talk import SECONDS, Tap, submit, wait_until

from lmtpref.lists import Entry, Spool
from lmtpref.protocol.endpoints import TcpAddress, parse_address
from lmtpref.protocol.errors import UsageError
from lmtpref.testing import serve_script
from lmtpref.transcripts.notation import parse
from lmtpref.transcripts.script import Script

DEBIAN = ("debian", "12")  # other versions say other things
WILDCARD = "[...]"
_PLAYED = ("python", "dialogue")  # languages that are no configuration
_BLOCK = DirectiveLexer("code-block")


class Shown:
    """Finds the configurations, scripts and dialogues that a page shows, in order.

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
        """Return how `dialogue` differs from the page; an empty text if it does not."""
        return differs(example.parsed, example.namespace["dialogue"])


def differs(shown: str, came: str) -> str:
    """Return an empty text if `came` matches `shown`; else both texts, from the first difference on."""
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
    """The folder and the processes of a page, which end with it."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(self.enter_context(TemporaryDirectory(prefix="lmtpref-", ignore_cleanup_errors=True)))
        self.folder.chmod(0o755)  # an MTA's processes are of several users
        self.shown: dict[str, str] = {}
        self.used: set[str] = set()
        self.values: dict[str, object] = {"FOLDER": self.folder}

    def text(self, *names: str, **values: object) -> str:
        """Return the configurations with these names, with a value for each word in capitals."""
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
        """Return the output of a command of lmtpref."""
        return run(sys.executable, "-m", "lmtpref", *arguments)

    def process(self, *arguments: str | Path, group: str | None = None) -> Process:
        """A command of lmtpref that goes on until the page ends."""
        process = Process(sys.executable, "-m", "lmtpref", *arguments, group=group)
        self.callback(process.stop)
        return process

    @contextmanager
    def script(self, *names: str, port: int) -> Iterator[None]:
        """Start servers that play these transcripts of the page, each for one client, one after the other.

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
            start_new_session=True,
        )
        self.pid = self._process.pid

    def line(self) -> str:
        """The next line that it prints; empty when it has ended."""
        assert self._process.stdout
        return self._process.stdout.readline().rstrip("\n")

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def stop(self) -> None:
        """Stop the process, if it is running."""
        with suppress(ProcessLookupError):
            self._process.terminate()
        try:
            self._process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)  # child processes that it left running
        if self._process.stdout:
            self._process.stdout.close()


class Lists(Process):
    """`lmtpref serve` on a free port of loopback and on a Unix socket of `group`, with a spool on disk."""

    def __init__(self, folder: Path, configuration: Path, *options: str, group: str | None = None, into: Sequence[str] = ()) -> None:
        self.spool = folder / "spool"
        listen = ("--listen", "127.0.0.1:0", "--listen", f"unix:{folder}/lmtp.sock")
        command = (sys.executable, "-m", "lmtpref", "serve", configuration, "--spool", self.spool)
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
        """Return the entries of a queue, oldest first."""
        return [file.entry() for file in Spool(self.spool)[queue].stored()]

    def wait_for(self, count: int, queue: str = "in") -> list[Entry]:
        """Return the entries of a queue once there are exactly `count`."""
        wait_until(lambda: len(self.queued(queue)) >= count, f"{count} entries in {queue}")
        return self.queued(queue)


def _serves(servers: ExitStack, script: Script, address: str) -> bool:
    """Return whether the script is served: it listens before the previous one closes, so that no client is turned away."""
    try:
        servers.enter_context(serve_script(script, address))
    except UsageError:  # the address is in use
        return False
    return True


def runs_here() -> str:
    """Return why the MTAs of these pages cannot run here; empty if they can."""
    try:
        system = platform.freedesktop_os_release()
    except OSError:
        system = {"PRETTY_NAME": platform.system()}
    if (system.get("ID"), system.get("VERSION_ID")) != DEBIAN:
        return f"Postfix, Exim, Sendmail: the pages have those of Debian 12, and this is {system['PRETTY_NAME']}"
    return "" if os.geteuid() == 0 else "Postfix, Exim, Sendmail: they have to be started by root"


def begin_page(names: dict[str, Any]) -> None:
    """Begin a page about an MTA; if none can run, skip its examples with the reason, except in CI."""
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
