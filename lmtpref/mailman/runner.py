"""The runner: Mailman starts it, signals it and stops it; it serves LMTP in a thread of its own."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from pathlib import Path
from signal import SIGTERM

from mailman.config import config
from mailman.core.runner import Runner as MailmanRunner
from mailman.interfaces.runner import RunnerInterrupt

from lmtpref.lists.mailinglist import Judge
from lmtpref.mailman.directory import MailmanDirectory
from lmtpref.mailman.handler import MailmanHandler
from lmtpref.mailman.logs import MessageLog, logging_to_mailman
from lmtpref.mailman.plugin import configured_file
from lmtpref.mailman.settings import load
from lmtpref.protocol.endpoints import TcpAddress
from lmtpref.protocol.errors import UsageError
from lmtpref.server import Server

log = logging.getLogger("mailman.runner")


class Runner(MailmanRunner):  # type: ignore[misc]  # Mailman has no types
    """Mailman's LMTP runner, which listens on the host and port in `[mta]`.

    A wrong configuration, or an address that cannot be bound, ends the process with a message, and Mailman does not restart it.
    """

    is_queue_runner = False

    def __init__(self, name: str, slice: str | None = None) -> None:  # noqa: A002 - as Mailman has it
        super().__init__(name, slice)
        try:
            self._server = _server()
        except UsageError as error:
            _give_up(error)

    def run(self) -> None:
        """Serve until a signal stops the server; open transactions may finish first."""
        with suppress(RunnerInterrupt), logging_to_mailman():
            try:
                self._serve()
            except UsageError as error:
                _give_up(error)

    def _serve(self) -> None:
        # Mailman's signal handlers raise RunnerInterrupt in the main thread, at any point of its code.
        with self._server as server:
            log.info("LMTP server listening on %s", ", ".join(server.addresses))
            with suppress(RunnerInterrupt):
                while not self._stop:
                    self._snooze(0)


def _server() -> Server:
    """Return the server for Mailman's configuration and our own.  Raises UsageError."""
    file = configured_file()
    settings = load(Path(file) if file else None)
    envelope = MailmanDirectory(judge=Judge.ENVELOPE, wait_seconds=settings.lookup_seconds) if settings.judge == "envelope" else None
    return Server(
        MailmanHandler(settings, envelope),
        listen=str(TcpAddress(config.mta.lmtp_host, int(config.mta.lmtp_port))),
        settings=settings.settings,
        limits=settings.limits,
        known_mtas=settings.known_mtas,
        allow_remote=settings.allow_remote,
        tls=settings.tls,
        journal=MessageLog(),
    )


def _give_up(error: UsageError) -> None:
    """Print the error, and exit with the only code after which Mailman's master does not restart a runner."""
    log.error("the LMTP runner cannot start: %s", error)
    print(f"lmtpref.mailman.Runner: {error}", file=sys.stderr)  # noqa: T201 - what `mailman start` shows
    sys.exit(SIGTERM)
