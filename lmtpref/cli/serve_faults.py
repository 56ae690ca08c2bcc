"""Options of `lmtpref serve` for tests in any language: `--faults` injects faults, `--capture` writes received messages."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
from base64 import b64encode
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lmtpref.cli.arguments import path_name
from lmtpref.cli.terminal import report
from lmtpref.config.keys import COUNT, SECONDS, TEXT, Kind
from lmtpref.config.toml import TomlFile
from lmtpref.protocol.errors import UsageError
from lmtpref.protocol.replies import Reply

if TYPE_CHECKING:
    from lmtpref.net.context import Interpose
    from lmtpref.testing.faults import Fault
    from lmtpref.testing.recorder import Message, Recorder


log = logging.getLogger(__name__)


def add_to(serve: argparse.ArgumentParser) -> None:
    """Add the options to `serve`."""
    serve.add_argument("--accept-all", action="store_true", help="accept and drop every message, instead of serving lists")
    serve.add_argument(
        "--faults", type=path_name, metavar="FILE.toml", help="the faults to inject; exit code 1 if one of them never happened"
    )
    serve.add_argument("--capture", type=path_name, metavar="FILE", help="write each accepted message to FILE, as a line of JSON")


def capture_for(options: argparse.Namespace) -> Capture | None:
    """Return the file that `--capture` requests; None without it.  Raises UsageError."""
    return Capture(options.capture) if options.capture else None


def recorder_for(options: argparse.Namespace, capture: Capture | None) -> Recorder | None:
    """Return the recorder that the options request; None without them.  Raises ConfigurationError."""
    if not options.faults and not capture:
        return None
    recorder = new_recorder(capture.write if capture else None)
    for fault in load(options.faults) if options.faults else ():
        recorder.faults.add(fault)
    return recorder


def new_recorder(on_message: Callable[[Message], None] | None = None) -> Recorder:
    """Return a recorder that keeps no messages."""
    from lmtpref.testing.recorder import Recorder  # noqa: PLC0415 - a server without faults starts sooner

    return Recorder(keep=False, on_message=on_message)


def interpose_for(recorder: Recorder | None) -> Interpose | None:
    """Return what puts the faults of the recorder between connections and handler; None without a recorder."""
    if not recorder:
        return None
    from lmtpref.testing.fault_injector import FaultInjector  # noqa: PLC0415 - a server without faults starts sooner

    return partial(FaultInjector, recorder)


def report_missing(recorder: Recorder | None) -> bool:
    """Report the faults that did not happen; return whether there are any."""
    missing = recorder.faults.missing if recorder else []
    for line in missing:
        report(line)
    return bool(missing)


# The file of faults -------------------------------------------------------------------------------------------------


class FaultKey(NamedTuple):
    """A key of [[fault]]: its name, the kind of its value, and its meaning."""

    name: str
    kind: Kind
    meaning: str


OCTETS_OR_NONE = Kind("a number of octets", lambda value: type(value) is int and value >= 0)
TRUE = Kind("true", lambda value: value is True)

KEYS = (
    FaultKey("on", TEXT, 'the command: a verb, "connect", or "." for the replies after the end of the message'),
    FaultKey("to", TEXT, "the recipient that it is limited to"),
    FaultKey("after", COUNT, "how many occasions are skipped first"),
    FaultKey("times", COUNT, "how often it happens; absent: every time"),
    FaultKey("delay", SECONDS, "how long to wait first"),
    FaultKey("reply", TEXT, 'the reply: "452 4.2.2 Full"'),
    FaultKey("drop", TRUE, "close the connection instead of replying"),
    FaultKey("drop_after_bytes", OCTETS_OR_NONE, "close the connection after so many octets of the reply"),
    FaultKey("reset", TRUE, "as drop, with a TCP reset"),
    FaultKey("stall", TRUE, "never reply"),
    FaultKey("slice", COUNT, "send the reply in pieces of so many octets"),
)
_KEYS = {key.name: key for key in KEYS}


def load(path: str) -> list[Fault]:
    """Return the faults in the file `path`.  Raises ConfigurationError, naming file, line and key, for the first mistake."""
    return _File(Path(path)).faults()


class _File(TomlFile):
    """The parser of a file of faults."""

    def faults(self) -> list[Fault]:
        for name in self.data.keys() - {"fault"}:
            raise self.error("unknown table or key", None, key=name)
        tables = self.data.get("fault", [])
        if not isinstance(tables, list):
            raise self.error("faults are written [[fault]]", "fault", key="fault")
        return [self.fault(f"fault {number}", table) for number, table in enumerate(tables)]

    def fault(self, header: str, table: dict[str, Any]) -> Fault:
        from lmtpref.testing.faults import Fault  # noqa: PLC0415 - a server without faults starts sooner

        for name, value in table.items():
            if name not in _KEYS:
                raise self.error("unknown key in [[fault]]", header, key=name)
            if not _KEYS[name].kind.fits(value):
                raise self.error(f"must be {_KEYS[name].kind.words}, not {value!r}", header, key=name)
        if "on" not in table:
            raise self.error("a fault needs a command: on", header, key="on")
        done = [name for name in table if name not in {"on", "to", "after", "times"}]
        if not done:
            raise self.error("a fault needs an action, such as reply or drop", header, key="on")
        name = "on"
        try:
            fault = Fault(table["on"], to=table.get("to"), after=table.get("after", 0))
            for name in done:
                _do(fault, name, table[name], table.get("times"))
        except UsageError as error:
            raise self.error(str(error), header, key=name) from None
        return fault


def _do(fault: Fault, name: str, value: Any, times: int | None) -> Fault:  # noqa: ANN401 - as TOML has it
    """Apply a key to `fault`."""
    if name == "reply":
        reply = Reply.parse(value.split("\n"))
        return fault.reply(reply.code, reply.enhanced, "\n".join(reply.lines), times=times)
    if name == "delay":
        return fault.delay(value, times=times)
    if name == "slice":
        return fault.slice(value, times=times)
    if name == "drop_after_bytes":
        return fault.drop(after_bytes=value, times=times)
    end: Callable[..., Fault] = getattr(fault, name)
    return end(times=times)


# Received messages --------------------------------------------------------------------------------------------------


class Capture:
    """A file of accepted messages, a line of JSON each.  Raises UsageError if it cannot be written at the start.

    `missed` counts the messages that could not be written later, for example because the disk was full.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self.missed = 0
        try:
            self._append(b"")
        except OSError as error:
            raise UsageError(f"{path}: cannot be written: {error.strerror}") from None

    def write(self, message: Message) -> None:
        """Write a message, or log the reason why it cannot be written."""
        try:
            self._append(f"{json.dumps(as_json(message))}\n".encode("ascii"))
        except OSError as error:
            self.missed += 1
            log.error("%s: cannot be written: %s", self._path, error.strerror)  # noqa: TRY400 - the text has the cause

    def _append(self, line: bytes) -> None:
        with self._path.open("ab", buffering=0) as file:
            end = file.tell() if file.seekable() else None
            try:
                while line:
                    line = line[file.write(line) :]
            except OSError:
                # Half a line would spoil the next one.
                with contextlib.suppress(OSError):
                    file.truncate(end)
                raise


def as_json(message: Message) -> dict[str, object]:
    """Return a message as `--capture` writes it: the content as text if it is UTF-8, else in base64."""
    envelope: dict[str, object] = {
        "peer": message.peer,
        "lhlo": message.lhlo,
        "sender": message.sender,
        "recipients": [
            {"address": address, "reply": str(reply)} for address, reply in zip(message.recipients, message.replies, strict=False)
        ],
    }
    try:
        return envelope | {"content": message.content.decode()}
    except UnicodeDecodeError:
        return envelope | {"content_base64": b64encode(message.content).decode()}
