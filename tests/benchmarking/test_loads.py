from __future__ import annotations

import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from perfkit.benchmarking.loads import Plan, merged, put_load
from perfkit.benchmarking.servers import checked_base, server_named, status_of
from perfkit.errors import BenchmarkError

CLIENTS = ["python", pytest.param("wrk", marks=pytest.mark.skipif(not shutil.which("wrk"), reason="no wrk"))]


class Server(ThreadingHTTPServer):
    """Counts what it is asked for, and by how many connections."""

    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = Counter[str]()
        self.connections = 0
        self.lock = threading.Lock()
        self.base = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def setup(self) -> None:
        super().setup()
        with self.server.lock:
            self.server.connections += 1

    def do_GET(self) -> None:
        with self.server.lock:
            self.server.asked[self.path] += 1
        status = 500 if self.path == "/bad" else 200
        body = b"fine"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class TestLoad:
    def test_it_asks_exactly_so_many_times_by_so_many_users(self, server: Server) -> None:
        polled: list[float] = []
        load = put_load(
            Plan(server.base, ["/a", "/b"], users=5, seconds=0, requests=101),
            poll=lambda: polled.append(time.monotonic()),
        )
        assert load.requests == 101
        assert load.failures == {}
        assert server.asked.total() == 101
        assert set(server.asked) == {"/a", "/b"}
        assert server.connections <= 5
        assert load.p50_ms is not None
        assert load.p50_ms <= load.p95_ms <= load.p99_ms
        assert load.rate == pytest.approx(101 / load.seconds)
        assert load.client == "2 processes of Python"
        assert load.client_cpu_seconds > 0

    @pytest.mark.parametrize("client", CLIENTS)
    def test_it_asks_for_so_long(self, server: Server, client: str) -> None:
        load = put_load(Plan(server.base, ["/a", "/b"], users=4, seconds=1), poll=lambda: None, client=client)
        assert load.requests > 0
        assert load.seconds >= 0.9
        assert load.failures == {}
        # What was under way at the end is in no figure.
        assert load.requests <= server.asked.total() <= load.requests + 4
        assert set(server.asked) == {"/a", "/b"}

    @pytest.mark.parametrize("client", CLIENTS)
    def test_it_tells_failures_from_answers(self, server: Server, client: str) -> None:
        load = put_load(
            Plan(server.base, ["/a", "/bad"], users=2, seconds=1), poll=lambda: None, client=client
        )
        [(reason, count)] = load.failures.items()
        assert reason.startswith("status ")
        assert count > 0
        assert load.requests > 0

    def test_it_counts_users_who_reach_nobody(self) -> None:
        with Server() as gone:
            base = gone.base
        load = put_load(Plan(base, ["/"], users=2, seconds=0, requests=4), poll=lambda: None)
        assert load.requests == 0
        assert load.failures == {"ConnectionRefusedError": 4}
        assert (load.p50_ms, load.rate) == (None, 0.0)

    def test_it_refuses_a_client_that_cannot_do_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "/nowhere")
        plan = Plan("http://127.0.0.1:1", ["/"], users=1, seconds=1)
        with pytest.raises(BenchmarkError, match="wrk is not installed"):
            put_load(plan, poll=lambda: None, client="wrk")

    def test_it_puts_together_what_processes_have_measured(self) -> None:
        load = merged(
            [
                {"times_ms": [1.0, 2.0], "failures": {"status 500": 1}, "seconds": 2.0, "cpu_seconds": 0.5},
                {"times_ms": [3.0, 4.0], "failures": {"status 500": 2}, "seconds": 1.0, "cpu_seconds": 0.25},
            ]
        )
        assert (load.requests, load.failures, load.seconds) == (4, {"status 500": 3}, 2.0)
        assert (load.p50_ms, load.p99_ms, load.client_cpu_seconds) == (2.0, 4.0, 0.75)


class TestServers:
    def test_it_asks_for_a_status(self, server: Server) -> None:
        assert status_of(server.base, "/a") == 200
        assert status_of(server.base, "/bad") == 500

    def test_it_says_that_nobody_answers(self) -> None:
        with Server() as gone:
            base = gone.base
        with pytest.raises(BenchmarkError, match=f"{base} does not answer"):
            status_of(base, "/")

    @pytest.mark.parametrize(
        "url", ["localhost:8000", "ftp://x", "http://", "http://x:99999", "http://x/?a=1"]
    )
    def test_it_refuses_what_is_no_address_of_a_server(self, url: str) -> None:
        with pytest.raises(BenchmarkError, match=r"--base-url .* is no address of a server"):
            checked_base(url, "--base-url")

    def test_it_takes_an_address_with_a_path(self) -> None:
        assert checked_base("https://example.org/shop/", "--base-url") == "https://example.org/shop"

    def test_it_takes_the_best_server_that_is_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert server_named("auto") == "gunicorn"
        installed = {"granian"}
        monkeypatch.setattr(
            "perfkit.benchmarking.servers.find_spec", lambda name: name if name in installed else None
        )
        assert server_named("auto") == "granian"
        installed.clear()
        assert server_named("auto") == "threads"
        with pytest.raises(BenchmarkError, match="gunicorn is not installed"):
            server_named("gunicorn")
