"""Small servers of the pages: one thread for each connection."""

from __future__ import annotations

import contextlib
import socketserver
import threading
from collections.abc import Iterator


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Print nothing about a connection that was lost."""


@contextlib.contextmanager
def serve(connection: type[socketserver.BaseRequestHandler]) -> Iterator[str]:
    """Serve with `connection` on a free port; yield the address."""
    with _Server(("127.0.0.1", 0), connection) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
