"""A replacement for smtplib.LMTP that reads one final reply for each recipient."""

from __future__ import annotations

import os
import smtplib
import ssl
import sys
import time
from collections.abc import Callable, Sequence
from socket import socket
from types import EllipsisType

from lmtpref.net.client.smtplib_adapter import BLOCK_OCTETS, BLOCK_SECONDS, READ_OCTETS, ClientBase, SmtplibReply, own_name
from lmtpref.net.listeners import refuse_smtp_port
from lmtpref.protocol.client.session import Outcome


class Client(ClientBase, smtplib.LMTP):
    """An `smtplib.LMTP` that meets RFC 2033's requirements for clients.

    `sendmail` and `send_message` return {recipient: (code, text)} for those that failed, at RCPT or after the content.
    `outcomes` has the outcome of each recipient in order, and `on_outcome` is called with each as its reply comes.

    `host` is a name, an address, HOST:PORT, /PATH or unix:PATH.  `timeout` is the seconds that a reply may take, or None;
    the default is the time that RFC 5321 section 4.5.3.2 gives each reply.  With `prefer_chunks`, BDAT is used if it is offered.

    Raises smtplib's errors: SMTPConnectError and SMTPHeloError if the server rejects the session, OSError without a server.
    """

    default_port = smtplib.LMTP_PORT  # if neither `port` nor `host` has one; smtplib.LMTP uses SMTP's

    def __init__(
        self,
        host: str = "",
        port: int = 0,
        local_hostname: str | None = None,
        source_address: tuple[str, int] | None = None,
        timeout: float | EllipsisType | None = ...,
        *,
        on_outcome: Callable[[Outcome], object] | None = None,
        prefer_chunks: bool = False,
    ) -> None:
        super().__init__("", port, local_hostname or own_name(), source_address)
        self.on_outcome = on_outcome
        self._prefer_chunks = prefer_chunks
        self._standard_timeouts = timeout is ...
        if not isinstance(timeout, EllipsisType):
            self.timeout = timeout  # type: ignore[assignment]  # typeshed lacks the None that the documentation has
        self._lhlo: SmtplibReply | None = None
        self._start_over()
        if host:
            code, text = self.connect(host, port)
            if code != 220:
                self.close()
                raise smtplib.SMTPConnectError(code, text)

    # Connection -------------------------------------------------------------------------------------------------

    def connect(  # type: ignore[override]  # typeshed allows stranger source addresses
        self, host: str = "localhost", port: int = 0, source_address: tuple[str, int] | None = None
    ) -> SmtplibReply:
        """Connect, send LHLO, and return the greeting.  Raises SMTPHeloError if the server rejects LHLO."""
        self._start_over()
        if host.startswith("unix:"):
            host = os.path.abspath(host.removeprefix("unix:"))  # noqa: PTH100 - text, as the system call takes it
        self._host = host if port or host.count(":") > 1 else host.partition(":")[0]  # the name that the certificate must have
        try:
            greeting: SmtplibReply = super().connect(host, port, source_address)
            if greeting[0] == 220:
                self.ehlo_or_helo_if_needed()
        except BaseException:
            self.close()
            raise
        return greeting

    def _get_socket(self, host: str, port: int, timeout: float | None) -> socket:
        refuse_smtp_port(f"{host}:{port}", port)
        connected: socket = super()._get_socket(host, port, timeout)  # type: ignore[misc]  # typeshed lacks it
        return connected

    def ehlo(self, name: str = "") -> SmtplibReply:
        """Return the reply to LHLO, which the client sends once after the greeting, and once more after the TLS handshake.

        Raises SMTPNotSupportedError if `name` differs from the `local_hostname` that was sent.
        """
        if name not in {"", self.local_hostname}:
            raise smtplib.SMTPNotSupportedError(f"LHLO was said with {self.local_hostname}")
        if self._lhlo is None or self.sock is None:
            self._lhlo = self.getreply()
            self.ehlo_resp = self._lhlo[1]
            self.esmtp_features = self._adapter.features
            self.does_esmtp = self._lhlo[0] // 100 == 2
        return self._lhlo

    def ehlo_or_helo_if_needed(self) -> None:
        """Check that the server accepted LHLO; no other greeting is tried (RFC 2033 section 4.1).  Raises SMTPHeloError if it did not."""
        reply = self.ehlo()
        if not self.does_esmtp:
            raise smtplib.SMTPHeloError(*reply)

    def starttls(self, *, context: ssl.SSLContext | None = None) -> SmtplibReply:  # type: ignore[override]  # as in Python 3.12
        """Start TLS.  The server's certificate is checked unless `context` says otherwise.

        Raises SMTPNotSupportedError if STARTTLS is not offered, SMTPResponseException if the server rejects it, and SSLError if
        the handshake fails, which closes the connection.
        """
        self.ehlo_or_helo_if_needed()
        if not self.has_extn("starttls"):
            raise smtplib.SMTPNotSupportedError("STARTTLS extension not supported by server.")
        reply = self.docmd("STARTTLS")
        if not self._adapter.session.tls_pending:
            raise smtplib.SMTPServerDisconnected(self.problem) if self.problem else smtplib.SMTPResponseException(*reply)
        try:
            self.sock = (context or ssl.create_default_context()).wrap_socket(self._socket, server_hostname=self._host)
            self._adapter.session.tls_started()
            self._lhlo = self.ehlo_resp = None
            self.ehlo_or_helo_if_needed()
        except BaseException:
            self.close()
            raise
        return reply

    def close(self) -> None:
        """Close the connection without QUIT."""
        super().close()
        self._adapter.end()

    # Requests and replies ---------------------------------------------------------------------------------------

    def sendmail(  # type: ignore[override]  # typeshed has more names for the same types
        self,
        from_addr: str,
        to_addrs: str | Sequence[str],
        msg: bytes | str,
        mail_options: Sequence[str] = (),
        rcpt_options: Sequence[str] = (),
    ) -> dict[str, SmtplibReply]:
        """Send a message; return the recipients that did not get it, each with its reply.

        Raises SMTPSenderRefused, SMTPDataError, SMTPRecipientsRefused or SMTPServerDisconnected if no recipient got it.
        Raises SMTPNotSupportedError, before anything is sent, if the message needs an extension that the server lacks.
        """
        self.ehlo_or_helo_if_needed()
        self._drain_unsolicited()
        self._adapter.send(from_addr, to_addrs, msg, mail_options, rcpt_options)
        self._run_until(self._adapter.sent)
        return self._adapter.result()

    def putcmd(self, cmd: str, args: str = "") -> None:
        """Send a command that is part of no transaction; `getreply` returns the reply."""
        self._drain_unsolicited()
        self._adapter.ask(cmd, args)

    def getreply(self) -> SmtplibReply:
        """Return the next reply.  Raises SMTPServerDisconnected without one."""
        self._run_until(self._adapter.answered)
        return self._adapter.answer()

    def send(self, s: object) -> None:  # noqa: ARG002 - smtplib's name
        """Raise an error: octets that the session does not know of would put it out of sync."""
        raise smtplib.SMTPNotSupportedError("use sendmail() for messages, docmd() for other commands")

    # Octets -----------------------------------------------------------------------------------------------------

    @property
    def _socket(self) -> socket:
        if self.sock is None:
            raise smtplib.SMTPServerDisconnected(self.problem or "please run connect() first")
        return self.sock

    def _start_over(self) -> None:
        self._adapter = self._new_adapter(self.local_hostname)
        self._lhlo = self.ehlo_resp = None
        self.esmtp_features = {}
        self.does_esmtp = False

    def _run_until(self, enough: Callable[[], bool]) -> None:
        """Move octets in both directions until `enough` returns true.  An interruption leaves the connection out of sync."""
        try:
            while not enough():
                self._send_pending()
                self._receive_line()
            if self._adapter.session.closed:
                self._send_pending()
                self.close()
        except BaseException:
            self.close()
            raise

    def _send_pending(self) -> None:
        """Send the pending octets.  A server that does not read them may still have sent a reply."""
        octets = memoryview(self._adapter.session.take())
        seconds = self._seconds(BLOCK_SECONDS)
        try:
            for start in range(0, len(octets), BLOCK_OCTETS):
                self._debug("send", block := octets[start : start + BLOCK_OCTETS])
                self._socket.settimeout(seconds)
                self._socket.sendall(block)
        except TimeoutError:
            self._drain_unsolicited()
            self._adapter.give_up(seconds)
        except OSError:
            # The server's last replies can still be read, and then the end of the stream.
            pass

    def _receive_line(self) -> None:
        """Read the next line, or the end of the stream."""
        seconds = self._seconds(self._adapter.session.reply_timeout)
        until = None if seconds is None else time.monotonic() + seconds
        line = b""
        while not self._adapter.session.closed and not line.endswith(b"\n"):
            heard = self._read(None if until is None else max(until - time.monotonic(), 0))
            if heard is None:
                self._adapter.give_up(seconds)
            else:
                self._adapter.receive(line := heard)

    def _drain_unsolicited(self) -> None:
        """Read an unsolicited reply, such as a 421; nothing is sent to a server that is out of sync or gone."""
        if self.sock and (heard := self._read(0)) is not None:
            self._adapter.receive(heard)
            self._run_until(lambda: True)

    def _read(self, seconds: float | None) -> bytes | None:
        """Return the octets that come within `seconds`, empty at the end of the stream; None if no octet comes."""
        connected = self._socket
        try:
            connected.settimeout(seconds)
            heard = connected.recv(READ_OCTETS)
        except (TimeoutError, BlockingIOError, ssl.SSLWantReadError):
            return None
        except OSError:
            heard = b""
        self._debug("reply", heard)
        return heard

    def _seconds(self, reply_timeout: float) -> float | None:
        return reply_timeout if self._standard_timeouts else self.timeout

    def _debug(self, what: str, octets: bytes | memoryview) -> None:
        if self.debuglevel > 0:
            sys.stderr.write(f"{what}: {bytes(octets)!r}\n")
