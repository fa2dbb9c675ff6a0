"""Servers of the site of tests, and what they tell Prometheus."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil
from django.conf import settings
from prometheus_client.parser import text_string_to_metric_families

from project.services.processes import end, free_port
from project.services.state import LOOPBACK
from tests.tasks.workers import database_url

SITE = "tests.monitoring.prometheus.site"
SETTINGS = "tests.monitoring.prometheus.site_settings"

Found = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Server:
    """A server of the site, with worker processes."""

    def __init__(self, port: int) -> None:
        self.port = port

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, str]:
        """Return the status and the text of an answer, of whichever process."""
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=30)
        try:
            connection.request("GET", path, headers=dict(headers or {}))
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def is_up(self) -> bool:
        try:
            return self.get("/metrics")[0] in {200, 404}
        except (OSError, http.client.HTTPException):
            return False

    def scrape(self, path: str = "/metrics", headers: Mapping[str, str] | None = None) -> Found:
        """Return what Prometheus would get."""
        status, text = self.get(path, headers)
        assert status == 200, text
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def wait_for(self, claim: Callable[[Found], bool], *, times: int = 1, path: str = "/metrics") -> Found:
        """Scrape until a claim holds so many times one after the other, by whichever process."""
        deadline = time.monotonic() + 60
        held = 0
        while True:
            found = self.scrape(path)
            held = held + 1 if claim(found) else 0
            if held == times:
                return found
            ours = {
                key: value for key, value in found.items() if "perfkit" in key[0] and "bucket" not in key[0]
            }
            assert time.monotonic() < deadline, ours
            time.sleep(0.05)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Stop a server in order, and what does not."""
    if process.poll() is not None:
        return
    children = psutil.Process(process.pid).children()
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        end(children)
        process.kill()
        process.wait(timeout=10)


@contextmanager
def served(
    log: Path,
    prefix: str,
    *,
    kind: str = "gunicorn",
    workers: int = 3,
    application: str = "",
    port: int = 0,
    **environment: str,
) -> Iterator[Server]:
    """Serve the site within the block.

    Args:
        log: Where the server writes what it says.
        prefix: Of keys on the cache server: who shares it shares the figures.
        application: Of another site.
        port: Where it is to be the one of before.
        environment: Differs from this process's.
    """
    port = port or free_port()
    commands = {
        "gunicorn": ["gunicorn", f"--workers={workers}", f"--bind={LOOPBACK}:{port}", "--no-control-socket"],
        "granian": [
            "granian",
            "--interface=asgi",
            f"--workers={workers}",
            f"--host={LOOPBACK}",
            f"--port={port}",
        ],
    }
    application = application or {"gunicorn": f"{SITE}:application", "granian": f"{SITE}:asgi"}[kind]
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *commands[kind], application],
            env={
                **os.environ,
                "DATABASE_URL": database_url(),
                "DJANGO_SECRET_KEY": "only-for-tests",
                "DJANGO_SETTINGS_MODULE": SETTINGS,
                "PERFKIT_TESTS_PREFIX": prefix,
                **environment,
            },
            cwd=settings.BASE_DIR,
            stdout=output,
            stderr=output,
        )
    server = Server(port)
    try:
        deadline = time.monotonic() + 60
        while not server.is_up():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield server
    finally:
        stop(process)


def number(found: Found, metric: str, /, **labels: str) -> float:
    """Return the sum of the series of a metric that have these labels."""
    return sum(
        value
        for (name, had), value in found.items()
        if name == metric and labels.items() <= dict(had).items()
    )
