"""What the how-to shows: Prometheus scrapes the demo, and an alert fires and resolves."""

from __future__ import annotations

import io
import json
import re
import shlex
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings
from django.core.management import call_command

from project.services.processes import free_port
from project.services.state import LOOPBACK
from tests.docs.pages import ROOT
from tests.monitoring.prometheus.served import Server, served
from tests.plugins.prometheus import DisposablePrometheus

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.postgres,
    pytest.mark.redis,
    pytest.mark.prometheus,
]

PAGE = ROOT / "docs" / "how-to" / "prometheus.md"
WINDOW = "15s"
FOR = "3s"
PATIENCE_SECONDS = 120
PANELS = {
    *("Requests", "Duration of requests", "Slowest views, 95 %", "Busiest views", "Requests under way"),
    *("Queries", "Duration of queries", "Slow queries", "Failed queries", "Use of pools"),
    *("Cached reads", "Misses", "Memory of processes", "Outages", "Hit rate"),
    *("Jobs that need somebody", "Processes", "Measurements"),
}
"""Of the dashboard: those that have figures of what the demo does here."""


class Visitor(threading.Thread):
    """Asks sites for one flight after the other."""

    def __init__(self, ports: list[int]) -> None:
        super().__init__(daemon=True)
        self._servers = [Server(port) for port in ports]
        self._ends = threading.Event()
        self.answers = 0

    def run(self) -> None:
        number = 0
        while not self._ends.wait(0.02):
            number += 1
            try:
                self._servers[number % len(self._servers)].get(f"/api/flights/{number}")
            except OSError:
                continue  # the site is started anew
            self.answers += 1

    def end(self) -> None:
        self._ends.set()
        self.join(timeout=60)


def wait_until(claim: Callable[[], bool], told: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not claim():
        assert time.monotonic() < deadline, told()
        time.sleep(0.25)


@pytest.fixture
def ports() -> list[int]:
    return [free_port(), free_port()]


@pytest.fixture
def prometheus(tmp_path: Path, ports: list[int]) -> Iterator[DisposablePrometheus]:
    """Prometheus with the rules and the configuration of the page, which waits less, and scrapes two sites."""
    text = PAGE.read_text("utf-8")
    folder = tmp_path / "monitoring"
    call_command("perfkit_monitoring_files", str(folder), stdout=io.StringIO())
    [shorten] = re.findall(r"^\$ (sed -i .*)$", text, re.MULTILINE)
    subprocess.run(shlex.split(shorten), check=True, cwd=tmp_path)
    rules = (folder / "rules.yml").read_text("utf-8")
    assert rules.count("[1m]") >= 8
    assert rules.count("for: 15s") == 7
    (folder / "rules.yml").write_text(rules.replace("[1m]", f"[{WINDOW}]").replace("for: 15s", f"for: {FOR}"))
    [config] = [
        yaml.safe_load(block)
        for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
        if "global:" in block
    ]
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["scrape_configs"][0]["static_configs"] = [{"targets": [f"{LOOPBACK}:{port}" for port in ports]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    server = DisposablePrometheus(tmp_path, folder / "prometheus.yml")
    server.start()
    yield server
    server.stop()


def test_an_alert_fires_and_resolves(
    prometheus: DisposablePrometheus, ports: list[int], tmp_path: Path
) -> None:
    def site(stack: ExitStack, **environment: str) -> None:
        for port in ports:
            server = served(
                tmp_path / f"gunicorn-{port}.log",
                "",
                workers=2,
                application="project.wsgi:application",
                port=port,
                DJANGO_SETTINGS_MODULE="tests.tasks.worker_settings",
                REDIS_URL=settings.CACHES["default"]["LOCATION"],
                RATE_LIMIT_ENABLED="false",
                DATABASE_POOL_SIZE="1",
                **environment,
            )
            stack.enter_context(server)

    def told() -> Any:
        return prometheus.get("alerts"), prometheus.get("targets")

    visitor = Visitor(ports)
    visitor.start()
    try:
        with ExitStack() as stack:
            site(stack, QUERY_SLOW_THRESHOLD="0")
            wait_until(lambda: "PerfkitSlowQueries" in prometheus.firing(), told)
            assert "PerfkitCacheServerAway" not in prometheus.firing()
            told_twice = (
                f"sum(rate(perfkit_http_requests_total[{WINDOW}])) / sum(job:perfkit_http_requests:rate5m)"
            )
            wait_until(lambda: 1.7 < prometheus.query(told_twice).get((), 0.0) < 2.3, told)
            wait_until(lambda: drawn(prometheus) >= PANELS, lambda: PANELS - drawn(prometheus))
        with ExitStack() as stack:
            site(stack, QUERY_SLOW_THRESHOLD="60")
            before = visitor.answers
            wait_until(lambda: "PerfkitSlowQueries" not in prometheus.firing(), told)
            wait_until(lambda: visitor.answers > before + 20, told)
            share = "sum(job:perfkit_db_slow_queries:rate5m) / sum(job:perfkit_db_queries:rate5m)"
            wait_until(lambda: prometheus.query(share).get((), 1.0) < 0.05, told)
            assert "PerfkitSlowQueries" not in prometheus.firing()
    finally:
        visitor.end()


def drawn(prometheus: DisposablePrometheus) -> set[str]:
    """Ask for each expression of the dashboard; return the panels that there are figures for."""
    found = set()
    for panel in json.loads((ROOT / "perfkit/monitoring/files/dashboard.json").read_text("utf-8"))["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"].replace("$__rate_interval", WINDOW).replace("$job", ".+")
            if prometheus.query(expression):
                found.add(panel["title"])
    return found
