"""From a real Postfix into a list's queue, in each way there is: `python delivery.py [ROUNDS]` writes delivery.{json,inc,svg}.

The configurations are those that delivery.rst shows.  It needs root, and Debian 12's Postfix, which it unpacks; TMPDIR
names the disk that is meant.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from bench import CACHE, HERE, machine
from delivery_report import plot, table
from harness import Lists, Page, Process, Shown, runs_here
from ports import free_port
from postfix import Postfix
from postfix_tools import MissingToolError, find_tools
from processes import children, ended_children_seconds, own_seconds, started, used_since
from publish import publish
from sybil import Document
from talk import wait_until

MESSAGES, OCTETS = 1000, 1024
ROUNDS = 3
SESSIONS = 20  # of smtp-source; what it takes is not measured
PATIENCE_SECONDS = 300
LOOK_SECONDS = 0.1  # between two looks whether all is done; looking costs time, and no figure comes from it
TIMES = [digit * 10.0**power for power in range(-1, 3) for digit in (1, 1.5, 2, 3, 5, 7)]  # of the plot
MAILDIR = "spool/in/ant@lists.example"

# pipe(8) refuses to start anything as root.  Its user may reach what is in the home of who runs this, and nothing else is changed by that
INTO = ("setpriv", "--securebits=+no_setuid_fixup", "--inh-caps=+dac_override", "--ambient-caps=+dac_override")


class Run(NamedTuple):
    """One delivery of all messages: its folder, the lists, and the port on which a server is to listen."""

    folder: Path
    configuration: Path
    port: int

    @property
    def noted(self) -> Path:
        """Return the file in which a server without a spool writes its arrival times."""
        return self.folder / "times.json"

    def usable(self) -> list[float]:
        """When each message came into the queue `in`, in seconds since 1970: a rename is noted as the last change of a file."""
        if self.noted.exists():
            return sorted(json.loads(self.noted.read_text()))
        return sorted(file.stat().st_ctime for file in (self.folder / MAILDIR / "new").iterdir())


def nothing(_: Run) -> None:
    """Start nothing: Postfix starts the receiving program."""


def served(run: Run) -> Process:
    """`lmtpref serve`, with a spool."""
    return Lists(run.folder, run.configuration, "--listen", f"127.0.0.1:{run.port}")


def served_by(url: str, run: Run) -> Process:
    """The same with its queues at `url`."""
    return script("delivery_noted.py", run.configuration, run.port, run.noted, url.format(folder=run.folder))


def picked_up(seconds: float, run: Run) -> Process:
    """Start the process that reads virtual(8)'s Maildir, and waits for `seconds` between two looks."""
    return script("delivery_pickup.py", run.configuration, run.folder / "spool", run.folder / "maildirs/ant", seconds)


def script(name: str, *arguments: object) -> Process:
    """Start a script beside this file; return when it has printed that it is ready."""
    process = Process(sys.executable, HERE / name, *map(str, arguments))
    if not process.line():
        raise RuntimeError(f"{name} does not run")
    return process


@dataclass(frozen=True)
class Way:
    """A way into the queue: the page's blocks for main.cf and master.cf, the receiving process, and the most rounds."""

    name: str
    main: str
    master: str = ""
    consumer: Callable[[Run], Process | None] = nothing
    rounds: int | None = None


WAYS = (
    Way("process, lmtpref", "delivery-process", "delivery-pipe", rounds=1),  # it takes as long as all others together
    Way("process, bare Python", "delivery-process", "delivery-bare"),
    Way("process, dd", "delivery-process", "delivery-dd"),
    Way("Maildir, each 1 s", "delivery-maildir", consumer=partial(picked_up, 1)),  # as Mailman 2.1 did
    Way("Maildir, each 0.05 s", "delivery-maildir", consumer=partial(picked_up, 0.05)),
    Way("LMTP, spool", "delivery-lmtp", consumer=served),
    Way("LMTP, SQLite", "delivery-lmtp", consumer=partial(served_by, "sqlite:///{folder}/queues.db")),
    Way("LMTP, memory", "delivery-lmtp", consumer=partial(served_by, "memory:")),
)


@dataclass(frozen=True)
class Sample:
    """One run: seconds until the first and the last message were usable, how many were at each of TIMES, and the processor time."""

    first: float
    last: float
    at_times: list[int]
    behind_seconds: float
    postfix_seconds: float
    started: int


class Bench:
    """A Postfix with messages in its queue: a thousand from Anne, and one from Bart."""

    def __init__(self, page: Page) -> None:
        self._page = page
        page.shown.update(shown())
        page.values.update(PYTHON=sys.executable, SCRIPTS=HERE)
        self._configuration = page.write("lists.toml", "delivery-lists")
        self._postfix = Postfix(page)
        self._posts = self._inject("anne@home.test", MESSAGES)
        self._strangers = self._inject("bart@home.test", 1)

    def defaults(self) -> str:
        """Return Postfix's defaults for the settings of the page's delivery-knobs."""
        names = [line.partition(" =")[0] for line in shown()["delivery-knobs"].splitlines()]
        return self._postfix.run("postconf", "-d", *names)

    def deliver(self, way: Way) -> tuple[Sample, dict[str, Any]]:
        """Deliver all messages in this way, then a rejected one, then one while the receiver is down; return the results."""
        folder = self._page.folder / f"run{len(list(self._page.folder.glob('run*')))}"
        run = Run(folder, self._configuration, free_port())
        for name in "tmp", "new", "cur":
            (folder / MAILDIR / name).mkdir(parents=True)
        with ExitStack() as stack:
            if process := way.consumer(run):
                stack.callback(process.stop)
            self._start(way, run)
            stack.callback(self._postfix.stop)
            begun, used = self._timed(run, process)
            times = run.usable()
            notes = {"refused": self._refused(run), "in_trouble": self._in_trouble(run, process)}
        times = times or run.usable()  # a server in memory has written them now
        if len(times) != MESSAGES:
            raise RuntimeError(f"{way.name}: {len(times)} of {MESSAGES} messages came")
        seconds = [moment - begun for moment in times]
        at_times = [sum(moment <= limit for moment in seconds) for limit in TIMES]
        return Sample(round(seconds[0], 3), round(seconds[-1], 3), at_times, **used), notes

    def _start(self, way: Way, run: Run) -> None:
        values = {"RUN": run.folder, "LMTP_PORT": run.port}
        self._postfix.start("delivery-main", "delivery-knobs", way.main, master=way.master, into=INTO, **values)

    def _inject(self, sender: str, count: int) -> Path:
        """A folder with so many messages as Postfix keeps them in its queue `hold`."""
        self._start(WAYS[-1], Run(self._page.folder, self._configuration, 0))
        envelope = ("-f", sender, "-t", "ant@lists.example", "-M", "mta.example")
        address = f"inet:127.0.0.1:{self._postfix.port}"
        self._postfix.run("smtp-source", "-d", "-s", str(min(SESSIONS, count)), "-m", str(count), "-l", str(OCTETS), *envelope, address)
        self._postfix.stop()
        return (self._postfix.queues / "hold").rename(self._page.folder / sender)

    def _release(self, held: Path) -> float:
        """Put these messages into the queue `hold`, and let them go; when they were."""
        subprocess.run(["cp", "-a", f"{held}/.", self._postfix.queues / "hold"], check=True)
        os.sync()  # what is written after this is written by the delivery
        begun = time.time()
        self._postfix.run("postsuper", "-H", "ALL")
        self._postfix.run("postqueue", "-f")
        return begun

    def _wait(self, run: Run) -> None:
        """Wait until neither Postfix nor the receiving process has anything to do."""
        queues = [self._postfix.queues / name for name in ("hold", "incoming", "active", "deferred")]

        def done() -> bool:
            time.sleep(LOOK_SECONDS)
            waiting = (file for queue in queues for file in queue.rglob("*") if file.is_file())
            return not any(waiting) and not any(run.folder.glob("maildirs/*/new/*"))

        wait_until(done, "all to be delivered", PATIENCE_SECONDS)

    def _timed(self, run: Run, process: Process | None) -> tuple[float, dict[str, Any]]:
        """Return when the delivery began, and the processor time for it."""
        master = int((self._postfix.queues / "pid/master.pid").read_text())
        consumer = [process.pid] if process else []
        before = {pid: own_seconds(pid) for pid in [master, *children(master), *consumer]}
        count = started()
        begun = self._release(self._posts)
        self._wait(run)
        daemons = children(master)
        commands = sum(map(ended_children_seconds, daemons))
        return begun, {
            "behind_seconds": round(used_since(before, consumer) + commands, 3),
            "postfix_seconds": round(used_since(before, [master, *daemons]), 3),
            "started": started() - count,
        }

    def _refused(self, run: Run) -> dict[str, Any]:
        """Return Postfix's log line for a post by Bart, who is not a member, and the number of bounces."""
        noted = self._noted(run)
        self._wait(run)
        return {"noted": noted, "bounces": self._postfix.bounces()}

    def _in_trouble(self, run: Run, process: Process | None) -> str:
        """Return Postfix's log line for a post without a server, a pick-up process, or a spool for a command."""
        if process:
            process.stop()
        else:
            (run.folder / "spool").rename(run.folder / "gone")
            (run.folder / "spool").touch()
        return self._noted(run)

    def _noted(self, run: Run) -> str:
        """Return Postfix's log line for Bart's post: the enhanced code, the action and the reason."""

        def lines() -> list[str]:
            return self._postfix.logged(r"to=<ant@lists\.example>.*status=").splitlines()

        count = len(lines())
        self._release(self._strangers)
        wait_until(lambda: len(lines()) > count, "Postfix to try")
        noted = lines()[-1].partition("dsn=")[2].replace(str(run.folder), "RUN")
        return re.sub(r"\[127\.0\.0\.1\]:\d+", "[127.0.0.1]:LMTP_PORT", noted)


def shown() -> dict[str, str]:
    """The configurations of the page, by their names."""
    page = HERE / "delivery.rst"
    return dict(region.parsed for region in Shown()(Document(page.read_text(), str(page))))


def measure(rounds: int) -> dict[str, Any]:
    """Every way, taking turns.  Raises MissingToolError where this cannot be."""
    if reason := runs_here():
        raise MissingToolError(reason)
    results: dict[str, Any] = machine(find_tools(CACHE)) | {"messages": MESSAGES, "times": TIMES, "configurations": shown()}
    found: dict[str, dict[str, Any]] = {way.name: {"rounds": []} for way in WAYS}
    with Page() as page:
        bench = Bench(page)
        results["defaults"] = bench.defaults()
        for turn in range(rounds):
            for way in WAYS:
                if turn < (way.rounds or rounds):
                    sample, notes = bench.deliver(way)
                    found[way.name]["rounds"].append(asdict(sample))
                    found[way.name] |= notes
                    print(f"{way.name}: {sample.last} s", file=sys.stderr)
    return results | {"ways": found}


def main(arguments: Sequence[str]) -> int:
    """Measure, and write the results beside this file."""
    return publish("delivery", partial(measure, int(arguments[0]) if arguments else ROUNDS), table, {"delivery": plot})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
