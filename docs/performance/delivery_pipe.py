"""What pipe(8) starts for each message: asks the rules, and keeps it in a spool.  delivery_pipe.py CONFIG SPOOL SENDER RECIPIENT.

The message is on standard input.  The reason for the sender goes to standard output, an enhanced code first; the exit code
is one of sysexits.h.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Coroutine
from inspect import isawaitable
from typing import TypeVar

from lmtpref.config import load
from lmtpref.lists import ListHandler, MaildirQueues
from lmtpref.protocol.handler import Envelope, Peer, Recipient
from lmtpref.protocol.replies import Reply
from lmtpref.protocol.syntax import Path

T = TypeVar("T")


async def offer(handler: ListHandler, sender: str, recipient: str, message: bytes) -> Reply | None:
    """Return the lists' reply to a message with the line ends of a file, None once it is kept; `sender` is "" for the null sender."""
    envelope = Envelope(Peer(), Path.parse(sender) if sender else None)
    to = Recipient(Path.parse(recipient))
    for hook, *asked in (handler.mail,), (handler.rcpt, to), (handler.data,), (handler.message,), (handler.deliver, to):
        if hook == handler.data:
            envelope.recipients, envelope.content = [to], re.sub(rb"\r?\n", b"\r\n", message)
        answer = hook(envelope, *asked)
        reply = await answer if isawaitable(answer) else answer
        if reply:
            return reply
    return None


def without_waiting(coroutine: Coroutine[object, object, T]) -> T:
    """Return the coroutine's result; no loop runs, so it must not wait."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    raise RuntimeError("it waits for something")


def main(configuration: str, spool: str, sender: str, recipient: str) -> int:
    """Offer the message on standard input; return the exit code."""
    with MaildirQueues(spool) as queues:
        reply = without_waiting(offer(load(configuration).handler(queues), sender, recipient, sys.stdin.buffer.read()))
    if reply is None:
        return os.EX_OK
    print(reply.enhanced, *reply.lines)
    return os.EX_TEMPFAIL if reply.code < 500 else os.EX_NOPERM


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except Exception as fault:  # noqa: BLE001 - whatever it is, it is ours, and Postfix is to come again
        print(fault)
        sys.exit(os.EX_TEMPFAIL)
