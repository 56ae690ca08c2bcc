"""Send one message with a running Postfix: with_postfix.py SMTP_PORT HOST PORT SENDER RECIPIENT..., the message on standard input.

Postfix delivers to the host and port that the EHLO names (`_POSTFIX` in `peer_clients.py`).
"""

from __future__ import annotations

import smtplib
import sys


def main(smtp_port: str, host: str, port: str, sender: str, *recipients: str) -> None:
    """Hand the message on standard input to Postfix."""
    content = sys.stdin.buffer.read()
    header = content.partition(b"\r\n\r\n")[0]
    options = [] if content.isascii() else ["BODY=8BITMIME"]
    if not (header.isascii() and "".join((sender, *recipients)).isascii()):
        options.append("SMTPUTF8")
    with smtplib.SMTP("127.0.0.1", int(smtp_port), f"{host}.{port}") as postfix:
        postfix.ehlo()
        if "SMTPUTF8" in options:
            postfix.command_encoding = "utf-8"
        postfix.sendmail(sender, recipients, content, mail_options=options)


if __name__ == "__main__":
    main(*sys.argv[1:])
