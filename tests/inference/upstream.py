"""A server that speaks OpenAI's chat completions over HTTP, and misbehaves as it is told."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from project.services.processes import free_port
from project.services.state import LOOPBACK

KEY = "sk-never-shown-1234"
PATIENCE_SECONDS = 30
INPUT_TOKENS, OUTPUT_TOKENS = 5, 2


@dataclass
class Reply:
    """What one request gets.

    Args:
        status: Of HTTP.
        fields: Of the header.
        body: Sent as it is; made of what follows where None.
        pieces: The text, as a stream gives it.
        reason: To finish; none is given where empty.
        is_broken_off: Whether the connection is closed before the body's end.
        is_endless: Whether the body goes on and on.
        gate: Opened by the test when the rest of the body, or all of it, may be sent.
        gate_stands_after: Pieces of a stream that are sent before that.
    """

    status: int = 200
    fields: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    pieces: tuple[str, ...] = ("Good ", "day")
    reason: str = "stop"
    is_broken_off: bool = False
    is_endless: bool = False
    gate: threading.Event | None = None
    gate_stands_after: int = 0

    @property
    def usage(self) -> dict[str, int]:
        return {"prompt_tokens": INPUT_TOKENS, "completion_tokens": OUTPUT_TOKENS}

    def whole(self) -> bytes:
        choice = {"message": {"content": "".join(self.pieces)}, "finish_reason": self.reason or None}
        return json.dumps({"choices": [choice], "usage": self.usage}).encode()

    def events(self) -> list[bytes]:
        told: list[Any] = [{"choices": [{"delta": {"content": piece}}]} for piece in self.pieces]
        if self.reason:
            told += [{"choices": [{"delta": {}, "finish_reason": self.reason}]}]
            told += [{"choices": [], "usage": self.usage}]
        return [event(each) for each in told] + ([b"data: [DONE]\n\n"] if self.reason else [])


def event(told: Any) -> bytes:
    return f"data: {json.dumps(told)}\n\n".encode()


@dataclass
class Call:
    """One request that came."""

    body: dict[str, Any]
    fields: dict[str, str]
    at: float = field(default_factory=time.monotonic)


class Upstream(ThreadingHTTPServer):
    """The server.

    Attributes:
        calls: All that came.
        replies: What the next ones get, one each; then all get `usual`.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__((LOOPBACK, free_port()), _Handler)
        self.url = f"http://{LOOPBACK}:{self.server_port}/v1"
        self.calls: list[Call] = []
        self.replies: list[Reply] = []
        self.usual = Reply()
        self.faults: list[str] = []
        self._came = threading.Condition()

    def note(self, call: Call) -> Reply:
        with self._came:
            self.calls.append(call)
            self._came.notify_all()
            return self.replies.pop(0) if self.replies else self.usual

    def wait_for_calls(self, number: int) -> None:
        """Return once so many have come."""
        with self._came:
            assert self._came.wait_for(lambda: len(self.calls) >= number, timeout=PATIENCE_SECONDS)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that have gone; the test that uses the fixture finds other faults."""
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError):
            self.faults.append(repr(error))


class _Handler(BaseHTTPRequestHandler):
    server: Upstream
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.headers["Authorization"] == f"Bearer {KEY}"
        assert self.path == "/v1/chat/completions"
        reply = self.server.note(Call(body, dict(self.headers.items())))
        if reply.gate is not None and not reply.gate_stands_after:
            assert reply.gate.wait(PATIENCE_SECONDS)
        self.send_response(reply.status)
        for name, value in {**reply.fields, "Transfer-Encoding": "chunked"}.items():
            self.send_header(name, value)
        self.end_headers()
        is_stream = bool(body.get("stream")) and reply.body is None
        parts = reply.events() if is_stream else [reply.whole() if reply.body is None else reply.body]
        for number, part in enumerate(parts):
            if reply.gate is not None and number == reply.gate_stands_after != 0:
                assert reply.gate.wait(PATIENCE_SECONDS)
            if reply.is_broken_off and number == len(parts) - 1:
                self._chunk(part[: len(part) // 2])
                self.close_connection = True
                with suppress(OSError):  # the client may have gone first
                    self.connection.shutdown(socket.SHUT_RDWR)
                return
            self._chunk(part)
        while reply.is_endless:
            self._chunk(event({"choices": [{"delta": {"content": "and on " * 100}}]}))
        self.wfile.write(b"0\r\n\r\n")

    def _chunk(self, part: bytes) -> None:
        if part:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))


@contextmanager
def running() -> Iterator[Upstream]:
    """Run a server within the block."""
    server = Upstream()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert server.faults == []
