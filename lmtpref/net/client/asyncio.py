"""`Client` for asyncio: the same outcomes, with coroutines."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
import threading
from collections.abc import Callable, Sequence
from email.message import Message
from typing import Any, Literal, Self, cast

from lmtpref.net.client.smtplib_adapter import (
    BLOCK_OCTETS,
    BLOCK_SECONDS,
    ClientBase,
    SmtplibReply,
    require_recipients,
    server_address,
)
from lmtpref.net.own_names import client_name
from lmtpref.protocol.client.session import Outcome
from lmtpref.protocol.endpoints import TcpAddress, UnixAddress

# More than a StreamReader buffers, so that a read leaves nothing: what stayed there during the TLS handshake would pass for encrypted.
READ_OCTETS = 2**20
# How long a server may take to read the remaining octets, or to close TLS.
CLOSING_SECONDS = 1.0


class AsyncClient(ClientBase):
    """An LMTP client on the running loop: `async with AsyncClient("127.0.0.1", 8024) as client`.

    The arguments, the methods and the exceptions are those of `Client`, and the methods are coroutines.
    The block connects, because a constructor cannot wait; without `host`, call `connect`.
    Only one task at a time may use a client.

    Raises UsageError if an argument is invalid or the port is 25 (RFC 2033 section 5).
    """

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
        self._is_address_given = bool(host)
        self.local_hostname = local_hostname
        self.source_address = source_address
        self._adapter = self._new_adapter("localhost")
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._leaving: asyncio.StreamWriter | None = None  # of the connection that was closed last

    @property
    def esmtp_features(self) -> dict[str, str]:
        """The server's extensions: keywords in lower case, each with its parameters."""
        return self._adapter.features

    def has_extn(self, opt: str) -> bool:
        """Whether the server offers this extension."""
        return opt.lower() in self.esmtp_features

    # Connection -------------------------------------------------------------------------------------------------

    async def connect(self, host: str = "", port: int = 0, source_address: tuple[str, int] | None = None) -> SmtplibReply:
        """Connect, by default to the address of the last connection or of the constructor; send LHLO, and return the greeting.

        Raises SMTPConnectError, SMTPHeloError, or OSError if no server answers.
        """
        if host or port:
            self._address = server_address(host, port)
        self.source_address = source_address or self.source_address
        if self.local_hostname is None:
            self.local_hostname = await asyncio.to_thread(client_name)
        self._adapter = self._new_adapter(self.local_hostname)
        self._streams = await self._dial()
        greeting = await self._answer()
        if greeting[0] // 100 != 2:
            raise smtplib.SMTPConnectError(*greeting)
        await self._read_lhlo_reply()
        return greeting

    async def starttls(self, *, context: ssl.SSLContext | None = None) -> SmtplibReply:
        """Start TLS.  The server's certificate is checked unless `context` says otherwise; raises the errors of `Client.starttls`."""
        self._adapter.require_starttls()
        reply = await self.docmd("STARTTLS")
        self._adapter.require_tls_pending(reply)
        name = self._address.host if isinstance(self._address, TcpAddress) else self._address.path
        seconds = self._seconds(self._adapter.session.reply_timeout)
        limit = seconds or threading.TIMEOUT_MAX  # asyncio's own would be a minute
        context = context or ssl.create_default_context()
        try:
            await self._connected[1].start_tls(context, server_hostname=name, ssl_handshake_timeout=limit)
        except ConnectionAbortedError:  # asyncio's, after `limit`
            self._adapter.give_up(seconds)
            self.close()
            raise TimeoutError(self.problem) from None
        except BaseException:
            self.close()
            raise
        self._adapter.session.tls_started()
        await self._read_lhlo_reply()
        return reply

    async def quit(self) -> SmtplibReply:
        """Send QUIT, and close the connection."""
        try:
            return await self.docmd("QUIT")
        finally:
            self.close()

    def close(self) -> None:
        """Close the connection."""
        if self._streams:
            self._leaving = self._streams[1]
            self._leaving.close()
            self._streams = None
        self._adapter.end()

    async def __aenter__(self) -> Self:
        try:
            if self._is_address_given:
                await self.connect()
        except BaseException:
            await self._closed()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self.quit()
        except smtplib.SMTPServerDisconnected:
            self.close()
        finally:
            await self._closed()

    async def _closed(self) -> None:
        """Wait until the connection is closed, so that the loop does not end while it is open; abort it after CLOSING_SECONDS."""
        if self._leaving is None:
            return
        closing = asyncio.ensure_future(self._leaving.wait_closed())
        await asyncio.wait([closing], timeout=CLOSING_SECONDS)
        if not closing.done():
            self._leaving.transport.abort()
            closing.cancel()  # asyncio never reports the end after a cancelled TLS handshake
        await asyncio.gather(closing, return_exceptions=True)

    # Requests and replies ---------------------------------------------------------------------------------------

    async def transact(
        self,
        sender: str,
        recipients: str | Sequence[str],
        message: bytes | str,
        *,
        mail_options: Sequence[str] = (),
        rcpt_options: Sequence[str] = (),
    ) -> list[Outcome]:
        """Send a message; return the outcome of each recipient, in their order.  Raises the errors of `Client.transact`."""
        await self._drain_unsolicited()
        self._adapter.send(sender, recipients, message, mail_options, rcpt_options)
        await self._run_until(self._adapter.sent)
        return list(self.outcomes)

    async def sendmail(
        self,
        from_addr: str,
        to_addrs: str | Sequence[str],
        msg: bytes | str,
        mail_options: Sequence[str] = (),
        rcpt_options: Sequence[str] = (),
    ) -> dict[str, SmtplibReply]:
        """Send a message; return the recipients that did not get it, each with its reply.  Raises the errors of `Client.sendmail`."""
        require_recipients(to_addrs)
        await self.transact(from_addr, to_addrs, msg, mail_options=mail_options, rcpt_options=rcpt_options)
        return self._adapter.result()

    async def send_message(
        self,
        msg: Message,
        from_addr: str | None = None,
        to_addrs: str | Sequence[str] | None = None,
        mail_options: Sequence[str] = (),
        rcpt_options: Sequence[str] = (),
    ) -> dict[str, SmtplibReply]:
        """Send a message to the given addresses, by default those of its header; as `smtplib.SMTP.send_message`."""
        sending: Any = smtplib.SMTP.send_message(cast(Any, self), msg, from_addr, to_addrs, mail_options, rcpt_options)
        failed: dict[str, SmtplibReply] = await sending
        return failed

    def ehlo_or_helo_if_needed(self) -> None:
        """Do nothing, since LHLO was sent.  Called by `smtplib.SMTP.send_message`."""

    async def docmd(self, cmd: str, args: str = "") -> SmtplibReply:
        """Send a command that is part of no transaction, and return the reply."""
        await self._drain_unsolicited()
        self._adapter.ask(cmd, args)
        return await self._answer()

    async def noop(self) -> SmtplibReply:
        """Send NOOP."""
        return await self.docmd("NOOP")

    async def rset(self) -> SmtplibReply:
        """Send RSET."""
        return await self.docmd("RSET")

    async def vrfy(self, address: str) -> SmtplibReply:
        """Send VRFY."""
        return await self.docmd("VRFY", address)

    # Octets -----------------------------------------------------------------------------------------------------

    @property
    def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None:
            raise smtplib.SMTPServerDisconnected(self.problem or "please run connect() first")
        return self._streams

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with asyncio.timeout(self._connect_seconds()):
            if isinstance(self._address, UnixAddress):
                return await asyncio.open_unix_connection(self._address.path)
            return await asyncio.open_connection(*self._address, local_addr=self.source_address)

    async def _read_lhlo_reply(self) -> None:
        reply = await self._answer()
        if reply[0] // 100 != 2:
            raise smtplib.SMTPHeloError(*reply)

    async def _answer(self) -> SmtplibReply:
        await self._run_until(self._adapter.answered)
        return self._adapter.answer()

    async def _run_until(self, enough: Callable[[], bool]) -> None:
        """Move octets in both directions until `enough` returns true.  An interruption leaves the connection out of sync."""
        try:
            while not enough():
                await self._send_pending()
                await self._receive_reply()
            if self._adapter.session.closed:
                await self._send_pending()
                self.close()
        except BaseException:
            self.close()
            raise

    async def _send_pending(self) -> None:
        """Send the pending octets.  A server that does not read them may still have sent a reply."""
        octets = memoryview(self._adapter.session.take())
        if not octets or not self._streams:
            return
        _, writer = self._streams
        seconds = self._seconds(BLOCK_SECONDS)
        try:
            for start in range(0, len(octets), BLOCK_OCTETS):
                writer.write(octets[start : start + BLOCK_OCTETS])
                if writer.transport.get_write_buffer_size():
                    async with asyncio.timeout(seconds):
                        await writer.drain()
        except TimeoutError:
            await self._drain_unsolicited()
            self._adapter.give_up(seconds)
        except OSError:
            # The server's last replies can still be read, and then the end of the stream.
            pass

    async def _receive_reply(self) -> None:
        """Read until a whole reply has come, or the end of the stream.  All its lines share one time limit."""
        session = self._adapter.session
        earlier, seconds = session.reply_count, self._seconds(session.reply_timeout)
        try:
            async with asyncio.timeout(seconds):
                while not session.closed and session.reply_count == earlier:
                    self._adapter.receive(await self._read())
        except TimeoutError:
            self._adapter.give_up(seconds)

    async def _drain_unsolicited(self) -> None:
        """Read an unsolicited reply, such as a 421; nothing is sent to a server that is out of sync or gone."""
        try:
            async with asyncio.timeout(0):
                self._adapter.receive(await self._read())
        except TimeoutError:
            return
        await self._run_until(lambda: True)

    async def _read(self) -> bytes:
        reader, _ = self._connected
        try:
            return await reader.read(READ_OCTETS)
        except OSError:
            return b""
