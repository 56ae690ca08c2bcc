"""Queues of accepted messages: in memory, in a spool, or in a database."""
