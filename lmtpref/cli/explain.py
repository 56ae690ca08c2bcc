"""`lmtpref explain`: why a message would be accepted or rejected, and the exact reply of the server."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ipaddress
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from lmtpref.cli.arguments import message_of, path_name, wire_line
from lmtpref.cli.explain_facts import described
from lmtpref.cli.explain_forecast import forecast_as_data, forecast_as_text, forecast_of
from lmtpref.config.configuration import Configuration
from lmtpref.config.loader import load_or_open
from lmtpref.lists import Decision, Entry, Policy, Rule, rules_of
from lmtpref.lists.policy.facts import Facts
from lmtpref.net.known_mtas import KnownMtas
from lmtpref.protocol.client.message import MailObject, chunked, envelope_of, stuffed
from lmtpref.protocol.errors import UsageError
from lmtpref.protocol.handler import Answer, Peer
from lmtpref.protocol.maybe import resolve
from lmtpref.protocol.printable import printable
from lmtpref.protocol.replies import Reply
from lmtpref.transcripts.memory_wire import MemoryWire

GOES_ON = (2, 3)  # the first digits of replies after which a client continues


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `explain`."""
    explain = commands.add_parser("explain", help="show which rules would decide about a message, and the server's replies")
    explain.add_argument(
        "config",
        type=path_name,
        metavar="CONFIG.toml",
        help="the configuration with the lists and rules; or mailman:FILE, that of a GNU Mailman",
    )
    explain.add_argument(
        "--from", dest="sender", type=wire_line, required=True, metavar="ADDR", help="the envelope's sender; <> for the null sender"
    )
    explain.add_argument("--to", dest="recipient", type=wire_line, required=True, metavar="ADDR", help="the recipient")
    explain.add_argument("--peer", metavar="IP", help="the sending MTA (default: one on a Unix socket, which is known)")
    explain.add_argument(
        "--tls-name", action="append", default=[], metavar="NAME", help="a name in its verified TLS certificate; may be repeated"
    )
    explain.add_argument(
        "--lhlo", type=wire_line, default="mta.example", metavar="NAME", help="the argument of its LHLO (default: mta.example)"
    )
    explain.add_argument("--message", type=path_name, metavar="FILE", help="the message (default: a short one from the sender)")
    explain.add_argument("--json", action="store_true", help="print JSON")
    explain.set_defaults(run=_explain)


class Question(NamedTuple):
    """A decision, and the facts that the rules had for it."""

    decision: Decision
    facts: Facts


class ExplainedCommand(NamedTuple):
    """The client's command (empty at connect), the rules that were asked, and the reply."""

    command: str
    questions: tuple[Question, ...]
    reply: Reply


@dataclass
class ExplainRecorder:
    """A substitute for the queues that records the entries put there, and the decisions."""

    questions: list[Question] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)

    def decided(self, decision: Decision, facts: Facts) -> None:
        """Record a decision."""
        self.questions.append(Question(decision, facts))

    def put(self, entry: Entry) -> None:
        """Record that `entry` would be queued."""
        self.entries.append(entry)

    def take(self) -> tuple[Question, ...]:
        """Return the decisions since the last call."""
        questions = tuple(self.questions)
        self.questions.clear()
        return questions


class Explanation(NamedTuple):
    """A conversation as far as a client would get, its policy, and the entries that would be queued."""

    policy: Policy
    steps: list[ExplainedCommand]
    entry: Entry | None

    def asked(self, decision: Decision) -> Iterator[tuple[Rule[Any], str]]:
        """Yield the rules that were asked until one decided, each with its answer: a verdict, or `-`."""
        for rule in rules_of(self.policy, decision.stage):
            yield rule, str(decision.verdict) if rule is decision.rule else "-"
            if rule is decision.rule:
                return


def explanation(configuration: Configuration, mail: MailObject, peer: Peer, lhlo: str) -> Explanation:
    """Return the result for `mail`, from a conversation with the real handler on a wire in memory."""
    recorder = ExplainRecorder()
    handler = configuration.handler(recorder)
    handler.on_decision = recorder.decided
    with asyncio.Runner() as runner:

        def wait(answer: Answer) -> Reply | None:
            return runner.run(resolve(answer))

        wire = MemoryWire(handler, configuration.settings, peer, wait=wait)
        steps = [ExplainedCommand("", recorder.take(), _reply(wire))]
        for command, octets in _commands(lhlo, mail, steps):
            wire.send(octets)
            steps.append(ExplainedCommand(command, recorder.take(), _reply(wire)))
            if steps[-1].reply.code // 100 not in GOES_ON:
                break
        wire.close()
    return Explanation(handler.policy, steps, next(iter(recorder.entries), None))


def _commands(lhlo: str, mail: MailObject, steps: list[ExplainedCommand]) -> Iterator[tuple[str, bytes]]:
    """Yield the client's commands and their octets; those after LHLO depend on the replies."""
    yield _line(f"LHLO {lhlo}")
    offered = {line.partition(" ")[0]: () for line in steps[-1].reply.lines[1:]}
    for command in envelope_of(mail, offered, range(len(mail.forward_paths))):
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


def _explain(options: argparse.Namespace) -> int:
    configuration = load_or_open(options.config)
    mail = _mail(options)
    with contextlib.closing(configuration):
        forecast = forecast_of(configuration.directory, mail)
        explained = explanation(configuration, mail, _peer(options, configuration), options.lhlo)
    if options.json:
        print(json.dumps(forecast_as_data(forecast) | _as_json(explained), indent=2))
    else:
        print("\n".join(map(printable, (*forecast_as_text(forecast), *_as_text(explained)))))
    return 0


def _mail(options: argparse.Namespace) -> MailObject:
    sender = None if options.sender in ("", "<>") else options.sender.strip("<>")
    recipient = options.recipient.strip("<>")
    if options.message is None:
        author = sender or "mailer-daemon@mta.example"
        header = f"From: <{author}>\r\nTo: <{recipient}>\r\nSubject: Aardvarks\r\nMessage-ID: <aardvark>\r\n"
        content = f"{header}\r\nHello.\r\n".encode()
    else:
        try:
            content = message_of(Path(options.message).read_bytes())
        except OSError as error:
            raise UsageError(f"{options.message}: cannot be read: {error.strerror}") from None
    return MailObject(sender, [recipient], content)


def _peer(options: argparse.Namespace, configuration: Configuration) -> Peer:
    known_mtas = KnownMtas(configuration.known_mtas)
    # By then, a client that must begin TLS has done so.
    secure = configuration.settings.require_tls != "no" or bool(known_mtas.certificate_names)
    if options.peer is None:
        return Peer(secure=secure)
    try:
        ipaddress.ip_address(options.peer)
    except ValueError:
        raise UsageError(f"--peer: not an IP address: {options.peer!r}") from None
    known = known_mtas.has_address(options.peer) or known_mtas.has_certificate(options.tls_name)
    return Peer(options.peer, known=known, secure=secure, tls_names=tuple(options.tls_name))


def _as_text(explained: Explanation) -> Iterator[str]:
    printed: set[tuple[str, str]] = set()
    for step in explained.steps:
        if step.command:
            yield f"C: {step.command}"
        for decision, asked_with in step.questions:
            facts = described(asked_with).items()
            yield from (f"     {name:<24} {value}" for name, value in facts if (name, value) not in printed)
            printed.update(facts)
            yield from (f"   {rule.name + '?':<26} {said}" for rule, said in explained.asked(decision))
        if explained.entry and step is explained.steps[-1]:
            yield f"   queue                      {explained.entry.queue}"
        yield from (f"S: {line}" for line in str(step.reply).splitlines())


def _as_json(explained: Explanation) -> dict[str, object]:
    trail = [
        {"command": step.command, "questions": [_question(explained, question) for question in step.questions], "reply": str(step.reply)}
        for step in explained.steps
    ]
    return {"trail": trail, "queue": explained.entry.queue if explained.entry else None, "reply": trail[-1]["reply"]}


def _question(explained: Explanation, question: Question) -> dict[str, object]:
    decision, facts = question
    rules = [{"rule": rule.name, "policy": rule.policy, "said": said} for rule, said in explained.asked(decision)]
    return {"stage": decision.stage.value, "facts": described(facts), "rules": rules}
