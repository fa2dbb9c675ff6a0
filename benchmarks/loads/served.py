"""The same lists over HTTP: one process of a server, 64 connections that ask as fast as they are answered."""

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
from project.services.state import LOOPBACK

CONNECTIONS: Final = 64
THREADS: Final = 2
"""Of the process; with more of them than cores, they wait for each other."""
SIZE: Final = 20
PATIENCE_SECONDS: Final = 30.0

ROUTE: Final = "compiled, ninja with perfkit's renderer"
WAYS: Final = {
    "compiled, a plain Django view": "view/",
    ROUTE: "fast/first",
    "compiled, ninja": "ours/first",
    "ninja, select_related": "plain/first",
    "Django REST framework, select_related": "rest/",
    "a list that is kept": "fast/cached",
    "a view of constant bytes": "constant/",
}

SERVERS: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...], dict[str, float | None]]]] = {
    # With the goals, by whom the compiled list is set against.
    "granian": (
        ("granian", "benchmarks.loads.wsgi:application", "--interface", "wsgi", "--log-level", "error"),
        ("--workers", "1", "--blocking-threads", str(THREADS), "--host", LOOPBACK, "--port"),
        {"ninja, select_related": 6.0, "Django REST framework, select_related": 7.0},
    ),
    "gunicorn": (
        ("gunicorn", "benchmarks.loads.wsgi:application", "--log-level", "error"),
        ("--worker-class", "gthread", "--threads", str(THREADS), "--bind"),
        {"ninja, select_related": None, "Django REST framework, select_related": None},
    ),
}


def served(*, rounds: int, seconds: float) -> Section:
    """Ask for the first page of all flights over HTTP, each way for some seconds in turns, of each server.

    Args:
        seconds: Of all rounds together.

    Raises:
        EnvironmentError: There is no wrk.
        RuntimeError: A request was answered with an error.
    """
    wrk = shutil.which("wrk")
    if wrk is None:
        raise environment.EnvironmentError("Room api needs wrk to measure over HTTP: apt-get install wrk.")
    duration = max(int(seconds / rounds / len(WAYS) / len(SERVERS)), 1)
    sections = [_served_by(name, wrk, rounds=rounds, duration=duration) for name in SERVERS]
    return Section(
        [line for section in sections for line in section.lines],
        [figure for section in sections for figure in section.figures],
    )


def _served_by(server: str, wrk: str, *, rounds: int, duration: int) -> Section:
    rates: dict[str, list[float]] = {name: [] for name in WAYS}
    with _running(server) as address:
        for number in range(rounds + 1):  # the first fills what is kept
            for name, path in WAYS.items():
                rate = _rate(wrk, f"{address}/{path}?page_size={SIZE}", duration if number else 1)
                if number:
                    rates[name].append(rate)
    mine = rates[ROUTE]
    lines: list[tuple[str, ...]] = [
        (
            f"{server}, {CONNECTIONS} connections, {SIZE} flights: {name}",
            f"{1e3 / statistics.median(each):,.3f}",
            f"{_times(mine, each):.2f}",
        )
        for name, each in rates.items()
    ]
    *_, goals = SERVERS[server]
    figures = [
        Figure(f"{server}: {name} / {ROUTE}", _times(mine, rates[name]), "times", goal, "higher")
        for name, goal in goals.items()
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
def _running(server: str) -> Iterator[str]:
    port = free_port()
    command, options, _ = SERVERS[server]
    place = f"{LOOPBACK}:{port}" if options[-1] == "--bind" else str(port)
    variables = os.environ | {"DJANGO_SETTINGS_MODULE": "benchmarks.served"}
    process = subprocess.Popen([sys.executable, "-m", *command, *options, place], env=variables)
    address = f"http://{LOOPBACK}:{port}"
    try:
        _await(f"{address}/fast/first?page_size={SIZE}", process)
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
