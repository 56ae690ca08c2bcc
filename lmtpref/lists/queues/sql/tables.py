"""The tables of queues in a database.

Their names begin with `queue_`, so that they may share a database with the tables of a directory.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, ForeignKey, Index, Integer, LargeBinary, MetaData, String, Table, Text

SCHEMA_VERSION = 1

metadata = MetaData()

schema = Table(
    "queue_schema",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False, comment="of these tables"),
    comment="one row",
)
contents = Table(
    "queue_contents",
    metadata,
    Column("id", String(40), primary_key=True, comment="the ID of the first entry with this content"),
    Column("trace", LargeBinary, nullable=False, comment="the trace lines that the server added"),
    Column("content", LargeBinary, nullable=False, comment="the message as it was sent, octet for octet"),
    Column("octets", BigInteger, nullable=False, comment="of content"),
    comment="one row for each message, which several entries may share",
)
entries = Table(
    "queue_entries",
    metadata,
    Column("id", String(40), primary_key=True, comment="sorted, in order of arrival"),
    Column("queue", String(20), nullable=False, comment="in, bounces, command, hold or discard"),
    Column("list", Text, comment="the list's own address; null for postmaster"),
    Column("reverse_path", Text, nullable=False, comment="the envelope sender; empty for <>"),
    Column("arrived", Float(53), nullable=False, comment="seconds since 1970, by the server's clock"),
    Column("data", Text, nullable=False, comment="the entry as JSON, without trace and content"),
    Column("content_id", ForeignKey(contents.c.id), nullable=False, index=True),
    Column("claim", String(40), comment="the consumer that holds it; null if there is none"),
    Column("claimed_until", Float(53), comment="when its lease ends, in seconds since 1970"),
    Index("queue_entries_by_queue", "queue", "id"),
    comment="one row for each entry: one message for one recipient",
)
keys = Table(
    "queue_keys",
    metadata,
    Column("key", String(64), primary_key=True, comment="a digest of the fields that duplicates have in common"),
    Column("entry_id", String(40), nullable=False, comment="the first entry with this key; it may have been removed"),
    Column("arrived", Float(53), nullable=False, index=True, comment="time of arrival, in seconds since 1970"),
    comment="one row for each recent entry whose content has a Received field, to find duplicates",
)
