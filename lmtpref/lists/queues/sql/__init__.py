"""Queues in a database: SQLite, or PostgreSQL for several machines."""
