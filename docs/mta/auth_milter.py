"""A small milter that stands for OpenDKIM: it deletes forged Authentication-Results, verifies DKIM signatures, and adds its own field.

OpenDKIM finds public keys in DNS; here they are given, because the pages work without DNS.
"""

from __future__ import annotations

import base64
import socketserver
import struct
from threading import Thread
from typing import Self

import dkim
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

SELECTOR = b"test"
_HEAD = struct.Struct("!I")
_OPTIONS = struct.Struct("!III")
_ADD_AND_CHANGE_HEADERS = 0x01 | 0x10
_UNANSWERED = b"ADK"


class DkimKey:
    """A domain's DKIM key, which signs messages; `record` is what DNS would hold under `name`."""

    def __init__(self, domain: str, *, bits: int = 2048) -> None:
        self.domain = domain
        key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
        format_ = serialization.PrivateFormat.TraditionalOpenSSL
        self._private = key.private_bytes(serialization.Encoding.PEM, format_, serialization.NoEncryption())
        public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.record = b"v=DKIM1;k=rsa;p=" + base64.b64encode(public)

    @property
    def name(self) -> str:
        """The name of `record` in DNS."""
        return f"{SELECTOR.decode()}._domainkey.{self.domain}"

    def sign(self, message: str) -> str:
        """Return `message` with a DKIM-Signature field above it."""
        octets = message.replace("\n", "\r\n").encode()
        canonical = (b"relaxed", b"relaxed")
        signature = dkim.sign(octets, SELECTOR, self.domain.encode(), self._private, canonicalize=canonical, include_headers=[b"from"])
        return bytes(signature + octets).decode().replace("\r\n", "\n")


class AuthMilter(socketserver.ThreadingTCPServer):
    """The milter, on a port of loopback, for fields of `authserv_id`; it knows these keys.  It serves until its block ends."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, authserv_id: str, *keys: DkimKey, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Conversation)
        self.authserv_id = authserv_id
        self.records = {f"{key.name}.".encode(): key.record for key in keys}
        self.port: int = self.server_address[1]
        self._thread = Thread(target=self.serve_forever, daemon=True)
        self._thread.start()

    def changes(self, header: list[tuple[str, str]], body: bytes) -> list[bytes]:
        """Return the packets that change a message: forged fields go, the last first, and a new field comes on top."""
        forged = [index for index, value in enumerate(_values(header), 1) if self.authserv_id in value.lower()]
        deleted = [b"m" + _HEAD.pack(index) + b"Authentication-Results\0\0" for index in reversed(forged)]
        field = f"{self.authserv_id}; {self._results(header, body)}"
        return [*deleted, b"i" + _HEAD.pack(0) + f"Authentication-Results\0{field}\0".encode()]

    def _results(self, header: list[tuple[str, str]], body: bytes) -> str:
        message = (
            "".join(f"{name}: {value}\r\n".replace("\r\n", "\n").replace("\n", "\r\n") for name, value in header).encode() + b"\r\n" + body
        )
        verifier = dkim.DKIM(message)
        if not any(name.lower() == "dkim-signature" for name, _ in header):
            return "none"
        try:
            passed = verifier.verify(dnsfunc=lambda name, timeout=0: self.records.get(name))  # noqa: ARG005 - as dkimpy asks
        except dkim.DKIMException:
            passed = False
        return f"dkim={'pass' if passed else 'fail'} header.d={verifier.domain.decode() if passed else 'unknown'}"

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self


class _Conversation(socketserver.StreamRequestHandler):
    """One connection of an MTA."""

    server: AuthMilter

    def handle(self) -> None:
        header: list[tuple[str, str]] = []
        body = b""
        while (packet := self._read()) and packet[:1] != b"Q":
            letter, data = packet[:1], packet[1:]
            if letter in b"MAK":  # another message
                header, body = [], b""
            elif letter == b"L":
                name, value, _ = data.decode("utf-8", "surrogateescape").split("\0")
                header.append((name, value))
            elif letter == b"B":
                body += data
            if letter == b"O":
                self._write(b"O" + _OPTIONS.pack(min(6, _OPTIONS.unpack_from(data)[0]), _ADD_AND_CHANGE_HEADERS, 0))
            elif letter == b"E":
                self._write(*self.server.changes(header, body + data), b"c")
            elif letter not in _UNANSWERED:
                self._write(b"c")

    def _read(self) -> bytes:
        head = self.rfile.read(_HEAD.size)
        return self.rfile.read(_HEAD.unpack(head)[0]) if len(head) == _HEAD.size else b""

    def _write(self, *packets: bytes) -> None:
        self.wfile.write(b"".join(_HEAD.pack(len(packet)) + packet for packet in packets))


def _values(header: list[tuple[str, str]]) -> list[str]:
    return [value for name, value in header if name.strip().lower() == "authentication-results"]
