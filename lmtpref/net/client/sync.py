"""A replacement for smtplib.LMTP that reads one final reply for each recipient."""

from __future__ import annotations

import smtplib
import ssl
import sys
from collections.abc import Callable, Sequence
from typing import Literal

from lmtpref.net.client.smtplib_adapter import (
    BLOCK_OCTETS,
    BLOCK_SECONDS,
    ClientBase,
    SmtplibReply,
    require_recipients,
    server_address,
)
from lmtpref.net.client.timed_socket import AT_ONCE, TimedSocket, deadline
from lmtpref.net.own_names import client_name
from lmtpref.protocol.client.session import Outcome
from lmtpref.protocol.endpoints import TcpAddress


class Client(ClientBase, smtplib.LMTP):
    """An `smtplib.LMTP` that meets RFC 2033's requirements for clients.

    `transact` returns the outcome of each recipient.  `sendmail` and `send_message` are smtplib's: they return
    {recipient: (code, text)} for the recipients that failed, at RCPT or after the content.

    `host` is a name, an address, HOST:PORT, /PATH or unix:PATH; the default port is 2003.
    `local_hostname` is the argument of LHLO, by default the full name of this host.
    `source_address` is the host and port to connect from.
    `timeout` is the seconds that each reply may take, None for no limit, or "rfc5321" for the times of RFC 5321 section 4.5.3.2.
    `on_outcome` is called with the outcome of each recipient as soon as it is known.
    With `prefer_chunks`, BDAT is used if it is offered.

    Raises SMTPConnectError or SMTPHeloError if the server rejects the session, OSError if no server answers,
    UsageError if an argument is invalid or the port is 25 (RFC 2033 section 5).
    """

    default_port = smtplib.LMTP_PORT  # if neither `port` nor `host` has one; smtplib.LMTP uses SMTP's

    def __init__(
        self,
        host: str = "",
        port: int = 0,
        local_hostname: str | None = None,
        source_address: tuple[str, int] | None = None,
        timeout: float | Literal["rfc5321"] | None = "rfc5321",
        *,
        on_outcome: Callable[[Outcome], object] | None = None,
        prefer_chunks: bool = False,
    ) -> None:
        self._set_options(timeout, on_outcome, prefer_chunks=prefer_chunks)
        self._address = server_address(host, port)
        super().__init__("", port, local_hostname or client_name(), source_address)
        self.timeout = self._connect_seconds()  # type: ignore[assignment]  # typeshed lacks the None that the documentation has
        self._lhlo: SmtplibReply | None = None
        self._timed_socket: TimedSocket | None = None
        self._start_over()
        if host:
            code, text = self.connect(host, port)
            if code != 220:
                self.close()
                raise smtplib.SMTPConnectError(code, text)

    # Connection -------------------------------------------------------------------------------------------------

    def connect(  # type: ignore[override]  # typeshed allows stranger source addresses
        self, host: str = "", port: int = 0, source_address: tuple[str, int] | None = None
    ) -> SmtplibReply:
        """Connect, by default to the address of the last connection or of the constructor; send LHLO, and return the greeting.

        Raises SMTPHeloError if the server rejects LHLO, OSError if no server answers, UsageError for an invalid address.
        If the greeting is not 220, the client returns it without LHLO, as smtplib does.
        """
        self._start_over()
        if host or port:
            self._address = server_address(host, port)
        target = self._address if isinstance(self._address, TcpAddress) else TcpAddress(self._address.path, 0)
        self._host = target.host  # the name that the certificate must have
        try:
            greeting: SmtplibReply = super().connect(*target, source_address)
            if greeting[0] == 220:
                self.ehlo_or_helo_if_needed()
        except BaseException:
            self.close()
            raise
        return greeting

    def ehlo(self, name: str = "") -> SmtplibReply:
        """Return the reply to LHLO, which the client sends once after the greeting, and once more after the TLS handshake.

        Raises SMTPNotSupportedError if `name` differs from the `local_hostname` that was sent.
        """
        if name not in {"", self.local_hostname}:
            raise smtplib.SMTPNotSupportedError(f"LHLO was sent with {self.local_hostname}")
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

        Raises SMTPNotSupportedError if STARTTLS is not offered, SMTPResponseException if the server rejects it.
        If the handshake fails, closes the connection and raises TimeoutError, SSLError or another OSError.
        """
        self.ehlo_or_helo_if_needed()
        self._adapter.require_starttls()
        reply = self.docmd("STARTTLS")
        self._adapter.require_tls_pending(reply)
        seconds = self._seconds(self._adapter.session.reply_timeout)
        try:
            plain = self._connected.socket
            plain.settimeout(seconds)
            self.sock = (context or ssl.create_default_context()).wrap_socket(plain, server_hostname=self._host)
            self._adapter.session.tls_started()
            self._lhlo = self.ehlo_resp = None
            self.ehlo_or_helo_if_needed()
        except TimeoutError:
            self._adapter.give_up(seconds)
            self.close()
            raise TimeoutError(self.problem) from None
        except BaseException:
            self.close()
            raise
        return reply

    def close(self) -> None:
        """Close the connection without QUIT."""
        super().close()
        self._adapter.end()

    # Requests and replies ---------------------------------------------------------------------------------------

    def transact(
        self,
        sender: str,
        recipients: str | Sequence[str],
        message: bytes | str,
        *,
        mail_options: Sequence[str] = (),
        rcpt_options: Sequence[str] = (),
    ) -> list[Outcome]:
        """Send a message; return the outcome of each recipient, in their order, whatever the server replied (RFC 2033 section 4.2).

        An empty `sender` is the null sender.  Line ends in a `str` become CRLF; `bytes` are sent unchanged.
        If the connection is lost, the recipients without a reply have an outcome with the stage "lost".

        Raises UsageError for an invalid address or no recipient, UnicodeEncodeError for a `str` that is not ASCII,
        SMTPServerDisconnected if the client is not connected.  Nothing was sent then.
        """
        self.ehlo_or_helo_if_needed()
        self._drain_unsolicited()
        self._adapter.send(sender, recipients, message, mail_options, rcpt_options)
        self._run_until(self._adapter.sent)
        return list(self.outcomes)

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
        require_recipients(to_addrs)
        self.transact(from_addr, to_addrs, msg, mail_options=mail_options, rcpt_options=rcpt_options)
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
    def _connected(self) -> TimedSocket:
        """The connection.  smtplib makes a new socket for each connection, and so does the TLS handshake."""
        if self.sock is None:
            raise smtplib.SMTPServerDisconnected(self.problem or "please run connect() first")
        if self._timed_socket is None or self._timed_socket.socket is not self.sock:
            self._timed_socket = TimedSocket(self.sock)
        return self._timed_socket

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
                self._receive_reply()
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
                block = octets[start : start + BLOCK_OCTETS]
                if self.debuglevel > 0:
                    self._debug("send", block)
                self._connected.send(block, seconds)
        except TimeoutError:
            self._drain_unsolicited()
            self._adapter.give_up(seconds)
        except OSError:
            # The server's last replies can still be read, and then the end of the stream.
            pass

    def _receive_reply(self) -> None:
        """Read until a whole reply has come, or the end of the stream.  All its lines share one time limit."""
        session = self._adapter.session
        seconds = self._seconds(session.reply_timeout)
        until = deadline(seconds)
        earlier = session.reply_count
        while not session.closed and session.reply_count == earlier:
            heard = self._read(until)
            if heard is None:
                self._adapter.give_up(seconds)
            else:
                self._adapter.receive(heard)

    def _drain_unsolicited(self) -> None:
        """Read an unsolicited reply, such as a 421; nothing is sent to a server that is out of sync or gone."""
        if self.sock and (heard := self._read(AT_ONCE)) is not None:
            self._adapter.receive(heard)
            self._run_until(lambda: True)

    def _read(self, until: float | None) -> bytes | None:
        heard = self._connected.receive(until)
        if heard is not None and self.debuglevel > 0:
            self._debug("reply", heard)
        return heard

    def _debug(self, what: str, octets: bytes | memoryview) -> None:
        sys.stderr.write(f"{what}: {bytes(octets)!r}\n")
