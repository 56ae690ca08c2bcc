"""What `lmtpref serve` offers to tests in any language: `--faults` to be had, `--capture` of what was received."""

from __future__ import annotations

import argparse
import json
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from lmtpref.cli.arguments import path_name
from lmtpref.cli.terminal import report
from lmtpref.config.toml import line_of, read_toml
from lmtpref.protocol.errors import ConfigurationError, UsageError
from lmtpref.protocol.replies import Reply
from lmtpref.testing.faults import Fault
from lmtpref.testing.recorder import Message, Recorder


def add_to(serve: argparse.ArgumentParser) -> None:
    """Give `serve` its options."""
    serve.add_argument("--accept-all", action="store_true", help="instead of lists, take every message for every recipient and keep none")
    serve.add_argument(
        "--faults", type=path_name, metavar="FILE.toml", help="what the server is to do wrong; exit code 1 if some of it never happened"
    )
    serve.add_argument(
        "--capture", type=path_name, metavar="FILE", help="write each message that was accepted to FILE, a line of JSON each"
    )


def recorder_for(options: argparse.Namespace) -> Recorder | None:
    """A recorder that does what the options say; None if they say nothing.  Raises ConfigurationError, UsageError."""
    if not options.faults and not options.capture:
        return None
    recorder = Recorder(keep=False, on_message=_capture(options.capture) if options.capture else None)
    for fault in load(options.faults) if options.faults else ():
        recorder.faults.add(fault)
    return recorder


def tell_missing(recorder: Recorder | None) -> bool:
    """Say what was to happen and did not; whether there is anything."""
    missing = recorder.faults.missing if recorder else []
    for line in missing:
        report(line)
    return bool(missing)


# The file of faults -------------------------------------------------------------------------------------------------


class Key(NamedTuple):
    """A key of [[fault]]: its name, what its value must be, as a test and in words, and what it means."""

    name: str
    fits: Callable[[Any], bool]
    words: str
    meaning: str


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and value is not True and value > 0


def _is_octets(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_seconds(value: object) -> bool:
    return isinstance(value, int | float) and value is not True and value > 0


def _is_true(value: object) -> bool:
    return value is True


KEYS = (
    Key("on", _is_text, "a string", 'the command: a verb, "connect", or "." for the replies after the end of the message'),
    Key("to", _is_text, "a string", "the recipient that it is limited to"),
    Key("after", _is_count, "a number above 0", "how many occasions are left out"),
    Key("times", _is_count, "a number above 0", "how often it happens; absent: every time"),
    Key("delay", _is_seconds, "a number of seconds, above 0", "how long to wait before anything else"),
    Key("reply", _is_text, "a string", 'the answer: "452 4.2.2 Full"'),
    Key("drop", _is_true, "true", "close the connection in place of an answer"),
    Key("drop_after_bytes", _is_octets, "a number of octets", "close the connection after so many octets of the reply"),
    Key("reset", _is_true, "true", "as drop, with a reset"),
    Key("stall", _is_true, "true", "never answer"),
    Key("slice", _is_count, "a number of octets, above 0", "send the answer in pieces of so many octets"),
)
_KEYS = {key.name: key for key in KEYS}


def load(path: str) -> list[Fault]:
    """The faults in the file `path`.  Raises ConfigurationError, naming file, line and key, for the first mistake."""
    return _File(Path(path)).faults()


class _File:
    """A file of faults while it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text, self.data = read_toml(path)

    def faults(self) -> list[Fault]:
        for name in self.data.keys() - {"fault"}:
            raise self.error("unknown table or key", None, name)
        tables = self.data.get("fault", [])
        if not isinstance(tables, list):
            raise self.error("faults are written [[fault]]", "fault", "fault")
        return [self.fault(f"fault {number}", table) for number, table in enumerate(tables)]

    def fault(self, header: str, table: dict[str, Any]) -> Fault:
        for name, value in table.items():
            if name not in _KEYS:
                raise self.error("unknown key in [[fault]]", header, name)
            if not _KEYS[name].fits(value):
                raise self.error(f"must be {_KEYS[name].words}, not {value!r}", header, name)
        if "on" not in table:
            raise self.error("a fault is on some command", header, "on")
        done = [name for name in table if name not in {"on", "to", "after", "times"}]
        if not done:
            raise self.error("nothing is to happen", header, "on")
        name = "on"
        try:
            fault = Fault(table["on"], to=table.get("to"), after=table.get("after", 0))
            for name in done:
                _do(fault, name, table[name], table.get("times"))
        except UsageError as error:
            raise self.error(str(error), header, name) from None
        return fault

    def error(self, problem: str, header: str | None, name: str) -> ConfigurationError:
        return ConfigurationError(problem, file=self.path, line=line_of(self.text, header, name), key=name)


def _do(fault: Fault, name: str, value: Any, times: int | None) -> Fault:  # noqa: ANN401 - as TOML has it
    """Let `fault` do what a key says."""
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


# What was received --------------------------------------------------------------------------------------------------


def _capture(path: str) -> Callable[[Message], None]:
    def write(*messages: Message) -> None:
        with Path(path).open("a", encoding="ascii") as file:
            file.writelines(json.dumps(as_json(message)) + "\n" for message in messages)

    try:
        write()
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from None
    return write


def as_json(message: Message) -> dict[str, object]:
    """A message as `--capture` writes it: the content as text where it is UTF-8, and in base64 where it is not."""
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
