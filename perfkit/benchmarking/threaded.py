"""`python -m perfkit.benchmarking.threaded PORT`: Python's own server, where no other is installed."""

from __future__ import annotations

import sys
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from perfkit.benchmarking.served import application


class ThreadedServer(ThreadingMixIn, WSGIServer):
    """A thread for each connection; it keeps none open."""

    daemon_threads = True
    request_queue_size = 1024


class QuietHandler(WSGIRequestHandler):
    """Logs no request."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


if __name__ == "__main__":
    with make_server(
        "127.0.0.1", int(sys.argv[1]), application, server_class=ThreadedServer, handler_class=QuietHandler
    ) as server:
        server.serve_forever()
