"""`lmtpref milter`: tell Postfix and Sendmail, at RCPT and at the end of a message, whether the lists would reject it."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import signal
from collections.abc import Iterable

from lmtpref.cli.arguments import domain_name, path_name
from lmtpref.cli.background import background_log, nonblocking_log
from lmtpref.cli.open_files import possible_connections
from lmtpref.cli.reload import noting_hangups, on_hangup
from lmtpref.cli.terminal import report
from lmtpref.config.configuration import Configuration
from lmtpref.config.loader import load_or_open
from lmtpref.lists import Entry, ListHandler
from lmtpref.lists.forecast import Forecaster
from lmtpref.lists.mailinglist import DirectoryError
from lmtpref.net.milter import MAX_CONNECTIONS, Milter
from lmtpref.protocol.domains import a_labels
from lmtpref.protocol.handler import Envelope, Recipient
from lmtpref.protocol.maybe import resolve
from lmtpref.protocol.replies import Reply
from lmtpref.protocol.syntax import Path

log = logging.getLogger(__name__)


class DiscardingSink:
    """A sink that drops every entry, because the milter only needs the verdict."""

    def put(self, entry: Entry) -> None:
        """Drop the entry."""


class ListJudge:
    """A judge that answers for the recipients at the lists' domains, as the server would; the MTA decides about all others.

    The domains `mixed` have mailboxes too, so there it answers only for the addresses of lists.
    If the lists cannot be looked up, it answers only for domains at which it has found a list before.
    A 4xx reply reports a local error.  With `tempfail`, the MTA gets it.  Otherwise the MTA accepts the recipient, and the
    server decides when the message arrives.
    """

    def __init__(self, handler: ListHandler, *, mixed: Iterable[str] = (), tempfail: bool = True) -> None:
        self.handler = handler
        self.tempfail = tempfail
        self._mixed = frozenset(map(a_labels, mixed))
        self._served: set[str] = set()

    async def rcpt(self, envelope: Envelope, path: Path) -> Reply | None:
        """Return the rejection of this recipient; None if it is accepted, or if the MTA decides about it."""
        recipient = Recipient(path)
        refusal = await resolve(self.handler.rcpt(envelope, recipient))
        if not self._is_ours(recipient):
            return None
        refusal = await resolve(self.handler.mail(envelope)) or refusal
        if refusal is None:
            envelope.recipients.append(recipient)
        return None if refusal and refusal.code < 500 and not self.tempfail else refusal

    async def message(self, envelope: Envelope) -> Reply | None:
        """Return the first recipient's rejection if every recipient would reject the message; else None.

        A recipient that would accept or defer the message gets it over LMTP, and the MTA sends a bounce for the others.
        """
        refusal = await resolve(self.handler.data(envelope))
        if refusal is None:
            self.handler.message(envelope)
            refusals = [await self._refusal(envelope, recipient) for recipient in envelope.recipients]
            refusal = refusals[0] if all(reply and reply.code >= 500 for reply in refusals) else None
        return refusal if refusal and refusal.code >= 500 else None

    async def _refusal(self, envelope: Envelope, recipient: Recipient) -> Reply | None:
        """Return the rejection of the message for this recipient, by the rules, or by the software to which the list belongs."""
        refusal = await resolve(self.handler.deliver(envelope, recipient))
        directory = self.handler.directory
        if refusal is None and isinstance(directory, Forecaster):
            try:
                forecast = await directory.forecast(recipient.path, envelope.reverse_path, envelope.content)
            except DirectoryError as error:
                log.error("no forecast for %s: %s", recipient.path.address, error)  # noqa: TRY400 - it says what there is to say
            else:
                refusal = forecast.reply if forecast else None
        return refusal if refusal and refusal.code >= 400 else None

    def _is_ours(self, recipient: Recipient) -> bool:
        found, domain = recipient.state.facts.found, a_labels(recipient.path.domain)
        if found.served:
            self._served.add(domain)
        if domain in self._mixed and found.list is None:
            return False
        return found.served or (found.down and domain in self._served)


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `milter`."""
    milter = commands.add_parser("milter", help="answer Postfix or Sendmail for the lists, at RCPT and at the end of a message")
    milter.add_argument("config", type=path_name, metavar="CONFIG.toml", help="the configuration with the lists; or mailman:FILE")
    milter.add_argument(
        "--listen", action="append", required=True, metavar="inet:HOST:PORT|unix:PATH", help="the address to listen on; may be repeated"
    )
    milter.add_argument(
        "--mixed",
        type=domain_name,
        action="append",
        default=[],
        metavar="DOMAIN",
        help="a domain with mailboxes besides lists; may be repeated",
    )
    milter.add_argument(
        "--on-outage", choices=("tempfail", "continue"), default="tempfail", help="what to do when the lists cannot be looked up"
    )
    milter.set_defaults(run=_milter)


def _milter(options: argparse.Namespace) -> int:
    with noting_hangups():
        return _judge_until_stopped(options)


def _judge_until_stopped(options: argparse.Namespace) -> int:
    configuration = load_or_open(options.config)
    judge = ListJudge(_handler(configuration), mixed=options.mixed, tempfail=options.on_outage == "tempfail")
    milter = Milter(
        judge,
        max_message_octets=configuration.settings.max_message_octets,
        max_buffered_octets=configuration.limits.max_buffered_octets,
        max_connections=possible_connections(MAX_CONNECTIONS, "the limit of connections"),
    )
    with nonblocking_log(), background_log():
        asyncio.run(_serve_until_stopped(milter, judge, options, configuration.group()))
    return 0


def _handler(configuration: Configuration) -> ListHandler:
    if isinstance(configuration.directory, Forecaster):
        configuration.directory.start_forecasts()
    return configuration.handler(DiscardingSink())


def _handler_of(path: str) -> ListHandler:
    return _handler(load_or_open(path, may_be_empty=False))


async def _serve_until_stopped(milter: Milter, judge: ListJudge, options: argparse.Namespace, group: str | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    async def read_again() -> None:
        before, judge.handler = judge.handler.directory, await asyncio.to_thread(_handler_of, options.config)
        if close := getattr(before, "close", None):  # closes a database's connections
            close()
        report(f"{options.config} was reloaded")

    async with on_hangup(read_again, options.config), contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(milter.aclose)
        for address in options.listen:
            await milter.listen(address.removeprefix("inet:"), group)
        for address in milter.addresses:
            print(f"listening on {address if address.startswith('unix:') else f'inet:{address}'}", flush=True)
        await stop.wait()
