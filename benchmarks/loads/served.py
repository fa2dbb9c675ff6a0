"""The same lists over HTTP: one gunicorn with threads, 64 connections that ask as fast as they are answered."""

from __future__ import annotations

import os
import re
import shutil
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from benchmarks import environment
from benchmarks.figures import Figure
from benchmarks.loads.scene import Section
from project.services.processes import free_port

CONNECTIONS: Final = 64
THREADS: Final = 8
SIZE: Final = 20
PATIENCE_SECONDS: Final = 30.0

WAYS: Final = {
    "compiled, perfkit's renderer": "fast/keyset",
    "compiled, ninja's renderer": "ours/keyset",
    "ninja, select_related": "plain/first",
    "Django REST framework, select_related": "rest/",
    "a list that is kept": "fast/cached",
    "a view of constant bytes": "constant/",
}
GOALS: Final = {"ninja, select_related": 6.0, "Django REST framework, select_related": 7.0}


def served(*, rounds: int, seconds: float) -> Section:
    """Ask for the first page of all flights over HTTP, each way for some seconds in turns.

    Args:
        seconds: Of all rounds together.

    Raises:
        EnvironmentError: There is no wrk.
        RuntimeError: A request was answered with an error.
    """
    wrk = shutil.which("wrk")
    if wrk is None:
        raise environment.EnvironmentError("Room api needs wrk to measure over HTTP: apt-get install wrk.")
    duration = max(int(seconds / rounds / len(WAYS)), 1)
    rates: dict[str, list[float]] = {name: [] for name in WAYS}
    with _server() as address:
        for number in range(rounds + 1):  # the first fills what is kept
            for name, path in WAYS.items():
                rate = _rate(wrk, f"{address}/{path}?page_size={SIZE}", duration if number else 1)
                if number:
                    rates[name].append(rate)
    mine = rates["compiled, perfkit's renderer"]
    lines: list[tuple[str, ...]] = [
        (
            f"over HTTP, {CONNECTIONS} connections, {SIZE} flights: {name}",
            f"{1e3 / statistics.median(each):,.3f}",
            f"{_times(mine, each):.2f}",
        )
        for name, each in rates.items()
    ]
    figures = [
        Figure(f"over HTTP: {name} / compiled", _times(mine, rates[name]), "times", goal, "higher")
        for name, goal in GOALS.items()
    ]
    return Section(lines, figures)


def _times(mine: list[float], theirs: list[float]) -> float:
    return statistics.median(own / other for own, other in zip(mine, theirs, strict=True))


def _rate(wrk: str, url: str, seconds: int) -> float:
    """Return the answers in a second."""
    told = subprocess.run(
        [wrk, "--threads", "2", "--connections", str(CONNECTIONS), "--duration", f"{seconds}s", url],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    if "Non-2xx" in told or "Socket errors" in told:
        raise RuntimeError(f"{url} was not always answered: {told}")
    return float(re.search(r"Requests/sec:\s+([\d.]+)", told)[1])  # type: ignore[index]  # else wrk has failed


@contextmanager
def _server() -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "benchmarks.loads.wsgi:application"]
    options = ["--bind", f"127.0.0.1:{port}", "--worker-class", "gthread", "--threads", str(THREADS)]
    variables = os.environ | {"DJANGO_SETTINGS_MODULE": "benchmarks.served"}
    process = subprocess.Popen([*command, *options, "--log-level", "error"], env=variables)
    address = f"http://127.0.0.1:{port}"
    try:
        _await(f"{address}/fast/keyset?page_size={SIZE}", process)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE_SECONDS)


def _await(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("The server does not answer.")
        try:
            urllib.request.urlopen(url, timeout=5).close()  # noqa: S310  # our own server
        except urllib.error.URLError:
            time.sleep(0.1)
        else:
            return
