"""Send one message with aiosmtplib: with_aiosmtplib.py HOST PORT SENDER RECIPIENT..., the message on standard input."""

import asyncio
import importlib
import sys

host, port, sender, *recipients = sys.argv[1:]
aiosmtplib = importlib.import_module("aiosmtplib")  # in an environment of its own
place = {"hostname": host, "port": int(port), "local_hostname": "mta.example", "start_tls": False}
asyncio.run(aiosmtplib.send(sys.stdin.buffer.read(), sender=sender, recipients=recipients, **place))
