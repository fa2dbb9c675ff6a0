"""Under real servers and workers: each tells the figures of all, exactly, whoever is killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from http.client import HTTPException
from pathlib import Path
from uuid import uuid4

import pytest

from tests.monitoring.prometheus import site_settings
from tests.monitoring.prometheus.served import SETTINGS, SITE, Found, Server, number, served
from tests.tasks.workers import running_worker

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres, pytest.mark.redis]

ORDERS = "/orders/<int:number>"
REQUESTS = "perfkit_http_requests_total"
BROKEN_OFF = (OSError, HTTPException)
"""Before an answer, or in the middle of one."""


@pytest.fixture
def prefix() -> str:
    return f"site-{uuid4().hex[:8]}"


class Watch(threading.Thread):
    """Scrapes all the time, and notes each counter that falls."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self._server = server
        self._ends = threading.Event()
        self.faults: list[str] = []
        self.scrapes = 0

    def run(self) -> None:
        last: Found = {}
        while not self._ends.wait(0.02):
            try:
                found = self._server.scrape()
            except BROKEN_OFF:
                continue  # the process that was to answer, or did, was killed
            self.scrapes += 1
            for key, value in found.items():
                if key[0].startswith("perfkit_") and key[0].endswith(("_total", "_count", "_bucket", "_sum")):
                    if value < last.get(key, 0):
                        self.faults.append(f"{key} fell from {last[key]} to {value}")
                    last[key] = value

    def end(self) -> None:
        self._ends.set()
        self.join(timeout=60)


def order(server: Server, times: int) -> set[int]:
    """Send so many requests, and return the ids of the processes that answered."""
    pids = set()
    for each in range(times):
        status, text = server.get(f"/orders/{each}")
        assert status == 200, text[:2000]
        pids.add(int(text))
    return pids


def is_exact(found: Found, orders: int, *, unseen_reads: int = 0) -> bool:
    """Say whether so many orders are told; of cached reads a killed process may have told some less."""
    return (
        number(found, REQUESTS, view=ORDERS, method="GET", status="2xx") == orders
        and number(found, "perfkit_http_request_duration_seconds_count", view=ORDERS) == orders
        and number(found, "perfkit_db_queries_total", verb="UPDATE") == orders
        and orders - unseen_reads <= number(found, "perfkit_cache_reads_total", outcome="miss") <= orders
        and number(found, "perfkit_timed_seconds_count", name="order") == orders
    )


def test_each_worker_of_gunicorn_tells_the_figures_of_all(prefix: str, tmp_path: Path) -> None:
    log = tmp_path / "gunicorn.log"
    with served(log, prefix) as server:
        watch = Watch(server)
        watch.start()
        pids = order(server, 100)
        orders = 100
        while len(pids) < 3:
            pids |= order(server, 20)
            orders += 20
        found = server.wait_for(lambda found: is_exact(found, orders), times=12)
        assert number(found, "perfkit_processes", role="web") >= 3
        assert number(found, "perfkit_metrics_up") == 1

        victim = pids.pop()
        order(server, 50)
        os.kill(victim, signal.SIGKILL)
        deadline = time.monotonic() + 60
        new: set[int] = set()
        more = 0
        while not new - pids - {victim}:
            assert time.monotonic() < deadline
            try:
                new |= order(server, 1)
            except BROKEN_OFF:
                continue  # it was the victim that should have answered
            more += 1
        orders += 50 + more
        server.wait_for(lambda found: is_exact(found, orders, unseen_reads=50 + more), times=12)
        watch.end()
        assert watch.faults == []
        assert watch.scrapes > 10
    with served(log, prefix) as server:
        order(server, 10)
        server.wait_for(lambda found: is_exact(found, orders + 10, unseen_reads=50 + more), times=6)


def test_asgi_and_celery_tell_the_same(prefix: str, tmp_path: Path) -> None:
    from tests.monitoring.prometheus.site import order as task

    environment = {"DJANGO_SETTINGS_MODULE": SETTINGS, "PERFKIT_TESTS_PREFIX": prefix}
    arguments = ["--pool=prefork", "--concurrency=2", f"--include={SITE}"]
    with (
        served(tmp_path / "granian.log", prefix, kind="granian", workers=2) as server,
        running_worker(tmp_path / "worker.log", *arguments, **environment),
    ):
        order(server, 40)
        for _ in range(30):
            assert server.get("/async")[0] == 200
        for each in range(12):
            task.delay(each)

        def is_whole(found: Found) -> bool:
            tasks = {"name": "tests.monitoring.order", "queue": "default"}
            return (
                number(found, REQUESTS, view="/async", status="2xx") == 30
                and number(found, REQUESTS, view=ORDERS) == 40
                and number(found, "perfkit_db_queries_total", verb="UPDATE")
                >= 40 + 12  # workers look after jobs
                and number(found, "perfkit_timed_seconds_count", name="task") == 12
                and number(found, "perfkit_tasks_total", outcome="success", **tasks) == 8
                and number(found, "perfkit_tasks_total", outcome="failure", **tasks) == 4
                and number(found, "perfkit_task_duration_seconds_count", **tasks) == 12
                and number(found, "perfkit_task_wait_seconds_count", queue="default") == 12
                and number(found, "perfkit_processes", role="worker") >= 2
            )

        server.wait_for(is_whole, times=6)


def test_metrics_of_prometheus_client_are_told_too(prefix: str, tmp_path: Path) -> None:
    """In the mode in which its processes write to files, and without django-prometheus."""
    (tmp_path / "files").mkdir()
    environment = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "files"), "PERFKIT_TESTS_OWN_PAGE": "1"}
    token = {"Authorization": "Bearer secret"}
    log = tmp_path / "gunicorn.log"
    with served(log, prefix, workers=2, PERFKIT_TESTS_TOKEN="secret", **environment) as server:
        assert server.get("/metrics")[0] == 404
        assert server.get("/own")[0] == 401
        pids = order(server, 20)
        orders = 20
        while len(pids) < 2:
            pids |= order(server, 20)
            orders += 20
        deadline = time.monotonic() + 60
        held = 0
        while held < 6:
            found = server.scrape("/own", token)
            held = held + 1 if is_exact(found, orders) else 0
            assert time.monotonic() < deadline
            assert number(found, "shop_orders_total") == orders
    assert site_settings.PERFKIT["METRICS_TOKEN"] == ""
