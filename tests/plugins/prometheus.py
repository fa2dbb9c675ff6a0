"""Prometheus, which scrapes sites for some tests, and promtool, which checks files."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from project.services.processes import free_port
from project.services.state import LOOPBACK

PATIENCE_SECONDS = 60


def is_done_without() -> bool:
    """Say whether this run leaves the tests on it out; never in CI, where they fail instead."""
    is_here = shutil.which("prometheus") is not None and shutil.which("promtool") is not None
    return not is_here and os.environ.get("CI") != "true"


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.fail(f"There is no {name} here: install Debian's package prometheus.")
    return found


def promtool(*arguments: str | Path, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run promtool; what it says is in `stdout`, warnings and errors too."""
    return subprocess.run(
        [program("promtool"), *map(str, arguments)],
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=60,
    )


class DisposablePrometheus:
    """A Prometheus for one test.

    Args:
        folder: Where it has its data and its log.
        config: Its file.
    """

    def __init__(self, folder: Path, config: Path) -> None:
        self.port = free_port()
        self._log = folder / "prometheus.log"
        self._command = [
            program("prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={LOOPBACK}:{self.port}",
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server; it answers when this returns."""
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/"
            )
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self._is_ready():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.1)

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{LOOPBACK}:{self.port}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def get(self, path: str, **parameters: str) -> Any:
        """Return the data of an answer of its API."""
        url = f"http://{LOOPBACK}:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                told = json.load(answer)
        except urllib.error.HTTPError as error:
            told = json.load(error)
        assert told["status"] == "success", (parameters, told)
        return told["data"]

    def query(self, expression: str) -> dict[tuple[tuple[str, str], ...], float]:
        """Return what an expression comes to now, by labels."""
        return {
            tuple(sorted(each["metric"].items())): float(each["value"][1])
            for each in self.get("query", query=expression)["result"]
        }

    def firing(self) -> set[str]:
        """Return the names of alerts that fire."""
        return {
            each["labels"]["alertname"] for each in self.get("alerts")["alerts"] if each["state"] == "firing"
        }

    def stop(self) -> None:
        """Stop it in order."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(timeout=10)
            self._process = None
