"""`lmtpref send`: send one message, and print a line for each recipient."""

from __future__ import annotations

import argparse
import smtplib
import sys

from lmtpref.cli.arguments import message_of, seconds, wire_line
from lmtpref.cli.exit_codes import FAILED_EXIT, TIMED_OUT_EXIT
from lmtpref.cli.terminal import report
from lmtpref.net.client.sync import Client
from lmtpref.protocol.client.session import Outcome
from lmtpref.protocol.endpoints import UnixAddress, parse_address
from lmtpref.protocol.printable import printable


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `send`."""
    send = commands.add_parser("send", help="send a message from standard input, and print the result for each recipient")
    send.add_argument("address", metavar="HOST:PORT|unix:PATH", help="where the server listens")
    send.add_argument("--from", dest="sender", type=wire_line, required=True, metavar="ADDRESS", help="the sender; <> is the null sender")
    send.add_argument(
        "--to", dest="recipients", action="append", type=wire_line, required=True, metavar="ADDRESS", help="a recipient; may be repeated"
    )
    send.add_argument("--lhlo", type=wire_line, metavar="NAME", help="the argument of LHLO (default: this host's name)")
    send.add_argument("--timeout", type=seconds, metavar="SECONDS", help="how long each reply may take (default: the times of RFC 5321)")
    send.add_argument("--starttls", action="store_true", help="send over TLS only; SSL_CERT_FILE names the trusted certificates")
    send.set_defaults(run=_send)


def _send(options: argparse.Namespace) -> int:
    place = parse_address(options.address)
    host, port = (str(place), 0) if isinstance(place, UnixAddress) else place
    content = message_of(sys.stdin.buffer.read())
    client = Client(local_hostname=options.lhlo, timeout="rfc5321" if options.timeout is None else options.timeout)
    try:
        greeting = client.connect(host, port)
        if greeting[0] // 100 != 2:
            raise smtplib.SMTPConnectError(*greeting)
        with client:
            if options.starttls:
                client.starttls()
            client.sendmail(options.sender, options.recipients, content)
    except OSError as error:  # the base of smtplib's exceptions too
        return _print_outcomes(client, error)
    return _print_outcomes(client, None)


def _print_outcomes(client: Client, error: OSError | None) -> int:
    """Print the outcome of each recipient, or that none was reached; return the exit code."""
    for outcome in client.outcomes:
        print(printable(_outcome_line(outcome)))
    if not client.outcomes:
        report(_error_text(error))
    elif any(outcome.stage == "lost" for outcome in client.outcomes):
        report(client.problem)
    if client.timed_out or isinstance(error, TimeoutError):
        return TIMED_OUT_EXIT
    return 0 if client.outcomes and all(outcome.delivered for outcome in client.outcomes) else FAILED_EXIT


def _outcome_line(outcome: Outcome) -> str:
    """Print a recipient and a reply on one line."""
    reply = outcome.reply
    return " ".join([f"{outcome.address}:", str(reply.code), *([str(reply.enhanced)] if reply.enhanced else []), *reply.lines])


def _error_text(error: OSError | None) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        text = error.smtp_error if isinstance(error.smtp_error, str) else error.smtp_error.decode(errors="replace")
        return f"{error.smtp_code} {text}"
    return str(error)
