"""`lmtpref explain`: why a message would be taken or refused, and the very reply the server would give."""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import json
import re
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from lmtpref.lists import Configuration, Entry, Rule, Verdict, load
from lmtpref.net.listeners import known_peers
from lmtpref.protocol.client_mail import Mail, chunked, envelope_of, stuffed
from lmtpref.protocol.errors import UsageError
from lmtpref.protocol.handler import Peer
from lmtpref.protocol.replies import Reply
from lmtpref.protocol.wire import MemoryWire
from lmtpref.tools.explain_facts import described

GOES_ON = (2, 3)  # first digits of replies after which a client goes on


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Make `explain` one of the commands."""
    explain = commands.add_parser("explain", help="say which rules would decide about a message, and what the server would answer")
    explain.add_argument("config", metavar="CONFIG.toml", help="whose lists and rules")
    explain.add_argument("--from", dest="sender", required=True, metavar="ADDR", help="the envelope's sender; <> for the null sender")
    explain.add_argument("--to", dest="recipient", required=True, metavar="ADDR", help="the recipient")
    explain.add_argument("--peer", metavar="IP", help="the sending MTA (default: one on a Unix socket, which is known)")
    explain.add_argument("--lhlo", default="mta.example", metavar="NAME", help="what it calls itself (default: mta.example)")
    explain.add_argument("--message", metavar="FILE", help="the message (default: a short one from the sender)")
    explain.add_argument("--json", action="store_true", help="for programs")
    explain.set_defaults(run=_explain)


class Asked(NamedTuple):
    """A rule that was asked: what it was told, and what it said; `verdict` is None where it had none."""

    rule: Rule[Any]
    facts: object
    verdict: Verdict | None
    error: str | None = None

    @property
    def said(self) -> str:
        """What it said, in words."""
        return f"raised {self.error}" if self.error else str(self.verdict or "-")


class Step(NamedTuple):
    """What the client said (nothing, when it connected), the rules that were asked about it, and the reply."""

    command: str
    asked: tuple[Asked, ...]
    reply: Reply


@dataclass
class Recorder:
    """Takes the place of the queues, and notes what is put there and which rules are asked; changes no verdict."""

    asked: list[Asked] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)

    def put(self, entry: Entry) -> None:
        """Note that `entry` would be queued."""
        self.entries.append(entry)

    def watched(self, rule: Rule[Any]) -> Rule[Any]:
        """`rule`, whose every answer is noted."""

        def decide(facts: object) -> Verdict | None:
            try:
                verdict = rule.decide(facts)
            except Exception as error:
                self.asked.append(Asked(rule, facts, None, repr(error)))
                raise
            self.asked.append(Asked(rule, facts, verdict))
            return verdict

        return replace(rule, decide=decide)

    def take(self) -> tuple[Asked, ...]:
        """What was asked since this was last called."""
        asked = tuple(self.asked)
        self.asked.clear()
        return asked


def conversation(configuration: Configuration, mail: Mail, peer: Peer, lhlo: str) -> tuple[list[Step], Entry | None]:
    """A conversation as far as a client would get, and what would be queued; nothing is.

    It is held with the handler that serves, over a wire in memory.
    """
    recorder = Recorder()
    handler = configuration.handler(recorder)
    handler.policy = tuple(map(recorder.watched, handler.policy))
    with asyncio.Runner() as runner:
        wire = MemoryWire(handler, configuration.settings, peer, wait=lambda answer: runner.run(_awaited(answer)))
        steps = [Step("", recorder.take(), _reply(wire))]
        for command, octets in _commands(lhlo, mail, steps):
            wire.send(octets)
            steps.append(Step(command, recorder.take(), _reply(wire)))
            if steps[-1].reply.code // 100 not in GOES_ON:
                break
        wire.close()
    return steps, next(iter(recorder.entries), None)


def _commands(lhlo: str, mail: Mail, steps: list[Step]) -> Iterator[tuple[str, bytes]]:
    """What the client says, and the octets of it; what it says after LHLO depends on what it heard."""
    yield _line(f"LHLO {lhlo}")
    offered = {line.partition(" ")[0]: () for line in steps[-1].reply.lines[1:]}
    for command in envelope_of(mail, offered):
        yield _line(command.octets.decode().rstrip())
    if mail.binary:
        [(octets, _)] = chunked(mail.content, mail.octets or 1)
        yield f"BDAT {mail.octets} LAST, and the message", octets
    else:
        yield _line("DATA")
        yield f"(the message, {mail.octets} octets)", stuffed(mail.content)


def _line(text: str) -> tuple[str, bytes]:
    return text, f"{text}\r\n".encode()


def _reply(wire: MemoryWire) -> Reply:
    return Reply.parse(wire.receive().decode().splitlines())


async def _awaited(answer: Awaitable[Reply | None]) -> Reply | None:
    return await answer


def _explain(options: argparse.Namespace) -> int:
    configuration = load(options.config)
    steps, entry = conversation(configuration, _mail(options), _peer(options, configuration), options.lhlo)
    if options.json:
        print(json.dumps(_as_json(steps, entry), indent=2))
    else:
        print("\n".join(_as_text(steps, entry)))
    return 0


def _mail(options: argparse.Namespace) -> Mail:
    sender = None if options.sender in ("", "<>") else options.sender.strip("<>")
    recipient = options.recipient.strip("<>")
    if options.message is None:
        author = sender or "mailer-daemon@mta.example"
        content = f"From: <{author}>\r\nTo: <{recipient}>\r\nMessage-ID: <aardvark>\r\n\r\nHello.\r\n".encode()
    else:
        try:
            content = re.sub(rb"\r?\n", b"\r\n", Path(options.message).read_bytes())
        except OSError as error:
            raise UsageError(f"{options.message}: cannot be read: {error.strerror}") from None
    return Mail(sender, [recipient], content)


def _peer(options: argparse.Namespace, configuration: Configuration) -> Peer:
    if options.peer is None:
        return Peer()
    try:
        ipaddress.ip_address(options.peer)
    except ValueError:
        raise UsageError(f"--peer: not an IP address: {options.peer!r}") from None
    return Peer(options.peer, known=known_peers(configuration.known_mtas)(options.peer))


def _as_text(steps: list[Step], entry: Entry | None) -> Iterator[str]:
    told: set[tuple[str, str]] = set()
    for step in steps:
        if step.command:
            yield f"C: {step.command}"
        facts = _facts(step).items()
        yield from (f"     {name:<24} {value}" for name, value in facts if (name, value) not in told)
        told.update(facts)
        for asked in step.asked:
            yield f"   {asked.rule.name + '?':<26} {asked.said}"
        if step is steps[-1] and entry:
            yield f"   queue                      {entry.queue}"
        yield from (f"S: {line}" for line in str(step.reply).splitlines())


def _as_json(steps: list[Step], entry: Entry | None) -> dict[str, object]:
    trail = [
        {
            "command": step.command,
            "facts": _facts(step),
            "rules": [{"rule": a.rule.name, "stage": a.rule.stage.value, "policy": a.rule.policy, "said": a.said} for a in step.asked],
            "reply": str(step.reply),
        }
        for step in steps
    ]
    return {"trail": trail, "queue": entry.queue if entry else None, "reply": trail[-1]["reply"]}


def _facts(step: Step) -> dict[str, str]:
    return described(step.asked[-1].facts) if step.asked else {}
