"""Messages and their metadata, in the form that Mailman's own runner writes into its queues."""

from __future__ import annotations

import os
import re
from datetime import datetime
from email import message_from_bytes
from email.errors import InvalidHeaderDefect
from email.utils import make_msgid
from typing import Any

from mailman.config import config
from mailman.email.message import Message
from mailman.utilities.email import add_message_hash

from lmtpref.mailman.recipients import ListRecipient

NULL_SENDER = "<>"
# The queue of each sub-address; a post has none.
QUEUES = {None: "in", "owner": "in", "bounces": "bounces"}
_BRACKETED_ID = re.compile(r"^<?\[(.*)\]>?")


def parse(content: bytes, sender: str) -> Message:
    """Return `content` as the message object that Mailman queues; `sender` is the reverse-path, without angle brackets.

    A message without a Message-ID gets one, and `<[...]>` loses its square brackets.  Errors that Mailman cannot process are in
    the `defects` of the message.
    """
    message = message_from_bytes(content, Message)
    sender = sender or NULL_SENDER
    message.set_unixfrom(sender)
    given = message.get("message-id")
    if given is None:
        message["Message-ID"] = make_msgid()
    elif not isinstance(given, str):
        # Octets above 127, which Mailman cannot hash.
        message.defects.append(InvalidHeaderDefect("Message-ID"))
        return message
    elif (corrected := _BRACKETED_ID.sub(r"<\1>", given)) != given:
        message.replace_header("Message-ID", corrected)
    message.original_size = len(content)
    add_message_hash(message)
    message["X-MailFrom"] = sender
    return message


def metadata(recipient: ListRecipient, octets: int, received: datetime) -> dict[str, Any]:
    """Return the metadata of a message of `octets` for `recipient`."""
    data: dict[str, Any] = {"listid": recipient.list_id, "original_size": octets, "received_time": received}
    if recipient.subaddress is None:
        return data | {"to_list": True}
    data["subaddress"] = recipient.subaddress
    if recipient.subaddress == "request":
        data["to_request"] = True
    if recipient.subaddress == "owner":
        data |= {"to_owner": True, "envsender": config.mailman.site_owner}
    return data


def enqueue(message: Message, data: dict[str, Any]) -> None:
    """Write `message` into the queue for its sub-address, and sync the directory, so that a crash does not lose it.

    Raises OSError: if the file cannot be written.
    """
    switchboard = config.switchboards[QUEUES.get(data.get("subaddress"), "command")]
    switchboard.enqueue(message, data)
    directory = os.open(switchboard.queue_directory, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
