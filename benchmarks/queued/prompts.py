"""How often a model is asked where many processes have the same prompt at the same moment."""

from __future__ import annotations

import json
import threading
import time
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from statistics import median
from typing import Any, Final

from benchmarks.figures import Figure, number
from benchmarks.loads.scene import Section
from benchmarks.queued.place import Place
from project.services.state import LOOPBACK

PROCESSES: Final = 8
ANSWER_SECONDS: Final = 0.5
SOON_SECONDS: Final = 0.3
"""Until when all processes have heard what they are to ask."""


class _Model(ThreadingHTTPServer):
    """Speaks chat completions, and counts."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__((LOOPBACK, 0), _Handler)
        self.calls = 0
        self.counting = threading.Lock()
        self.url = f"http://{LOOPBACK}:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: _Model

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.counting:
            self.server.calls += 1
        time.sleep(ANSWER_SECONDS)
        message = {"role": "assistant", "content": "Good day"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 5, "completion_tokens": 2}
        body = json.dumps({"model": "bench", "choices": [choice], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def prompts(place: Place, *, rounds: int) -> Section:
    """Have all processes ask the same at once, through the cache and past it, in turns."""
    calls: dict[str, list[int]] = {"cache": [], "plain": []}
    slowest: dict[str, list[float]] = {"cache": [], "plain": []}
    server = _Model()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        with ExitStack() as stack:
            clients = [stack.enter_context(place.client()) for _ in range(PROCESSES)]
            for turn in range(rounds + 1):
                for way, counted in calls.items():
                    server.calls = 0
                    at = time.time() + (SOON_SECONDS if turn else 10.0)  # the first waits for them to start
                    for client in clients:
                        client.tell(do="prompt", way=way, url=server.url, text=f"{way} {turn}", at=at)
                    told = [client.answer() for client in clients]
                    assert {each["text"] for each in told} == {"Good day"}
                    if turn:
                        counted.append(server.calls)
                        slowest[way].append(max(each["seconds"] for each in told))
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    lines: list[tuple[str, ...]] = [
        (f"[a prompt of {PROCESSES} processes, answered in {ANSWER_SECONDS} s]", "calls, most", "ms, slowest")
    ]
    for way, title in (("plain", "without the cache"), ("cache", "ModelCache")):
        lines.append((title, str(max(calls[way])), number(1e3 * median(slowest[way]))))
    return Section(
        lines,
        [
            Figure(
                f"the same prompt in {PROCESSES} processes at once: most calls of {rounds} rounds",
                max(calls["cache"]),
                "calls",
                1.0,
                "lower",
            ),
            Figure("the same without the cache", max(calls["plain"]), "calls", None, "lower"),
        ],
    )
