"""Sockets: the engine that serves connections, the clients, and the milter protocol.  A handler is handed in; no lists are known here."""
