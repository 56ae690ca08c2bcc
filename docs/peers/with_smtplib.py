"""Send one message with the standard library: with_smtplib.py HOST PORT SENDER RECIPIENT..., the message on standard input."""

import smtplib
import sys

host, port, sender, *recipients = sys.argv[1:]
with smtplib.LMTP(host, int(port), "mta.example") as lmtp:
    lmtp.sendmail(sender, recipients, sys.stdin.buffer.read())
