"""Sockets: the engine, and what plays transcripts over them.  A handler is handed in; no lists are known here."""
