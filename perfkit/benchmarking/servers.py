"""Serves the project for a load, by a server that is installed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from importlib.util import find_spec
from typing import Any, Final
from urllib.parse import urlsplit

from django.db import connections

from perfkit.errors import BenchmarkError

LOOPBACK: Final = "127.0.0.1"
VARIABLE: Final = "PERFKIT_BENCHMARK"
"""By which `perfkit.benchmarking.served` is told what differs."""
THREADS: Final = 4
START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 15.0
PATIENCE_SECONDS: Final = 30.0
OK: Final = 200

APPLICATION: Final = "perfkit.benchmarking.served:application"
COMMANDS: Final[dict[str, tuple[str, ...]]] = {
    "gunicorn": (
        *("gunicorn", APPLICATION, "--worker-class", "gthread", "--workers", "{workers}"),
        *("--threads", "{threads}", "--keep-alive", "75", "--log-level", "error"),
        *("--bind", f"{LOOPBACK}:{{port}}"),
    ),
    "granian": (
        *("granian", APPLICATION, "--interface", "wsgi", "--workers", "{workers}"),
        *("--blocking-threads", "{threads}", "--no-access-log", "--log-level", "error"),
        *("--host", LOOPBACK, "--port", "{port}"),
    ),
    "threads": ("perfkit.benchmarking.threaded", "{port}"),
}
SLOW_SERVER: Final = (
    "Python's own server was used, which is none for a load: it has one process and keeps no connection open. "
    "Look at the ratio at most, or install gunicorn or granian."
)


def server_named(name: str) -> str:
    """Return the server to use.

    Args:
        name: One of `COMMANDS`, or `auto` for the best that is installed.

    Raises:
        BenchmarkError: It is not installed.
    """
    if name == "auto":
        return next((each for each in ("gunicorn", "granian") if find_spec(each)), "threads")
    if name != "threads" and find_spec(name) is None:
        raise BenchmarkError(f"{name} is not installed: pip install {name}, or name another --server.")
    return name


@contextmanager
def served(server: str, options: Mapping[str, Any]) -> Iterator[str]:
    """Serve the project on a free port of this machine; yields its address.

    Args:
        server: One of `COMMANDS`.
        options: Of perfkit, that differ from the project's.

    Raises:
        BenchmarkError: It does not start, or the settings or the database are none that another process can read.
    """
    if not os.environ.get("DJANGO_SETTINGS_MODULE"):
        raise BenchmarkError("A server needs settings in a module, which DJANGO_SETTINGS_MODULE names.")
    port = _free_port()
    places = {"port": str(port), "workers": str(os.cpu_count() or 1), "threads": str(THREADS)}
    command = [sys.executable, "-m", *(part.format(**places) for part in COMMANDS[server])]
    given = {"options": dict(options), "databases": _databases()}
    variables = {
        **os.environ,
        VARIABLE: json.dumps(given),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env=variables, stdout=log, stderr=log)  # noqa: S603  # one of COMMANDS
        address = f"http://{LOOPBACK}:{port}"
        try:
            _await(port, process, log)
            yield address
        finally:
            _stop(process)


def status_of(base: str, path: str) -> int:
    """Return the status by which a server answers a GET.

    Raises:
        BenchmarkError: It does not answer.
    """
    parts = urlsplit(base)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.netloc, timeout=PATIENCE_SECONDS)
    try:
        connection.request("GET", parts.path + path)
        answer = connection.getresponse()
        answer.read()
    except (OSError, HTTPException) as error:
        raise BenchmarkError(f"{base} does not answer: {str(error) or type(error).__name__}.") from error
    finally:
        connection.close()
    return answer.status


def checked_base(url: str, option: str) -> str:
    """Return the address of a server without a slash at its end.

    Raises:
        BenchmarkError: It is none.
    """
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good or parts.query or parts.fragment:
        raise BenchmarkError(f"{option} {url!r} is no address of a server, such as http://localhost:8000.")
    return url.rstrip("/")


def _databases() -> dict[str, str]:
    names = {}
    for alias in connections:
        connection = connections[alias]
        name = str(connection.settings_dict["NAME"])
        if connection.vendor == "sqlite" and connection.is_in_memory_db():  # type: ignore[attr-defined]  # of SQLite
            raise BenchmarkError(
                f"The database {alias!r} is in the memory of this process, where no server can read it."
            )
        names[alias] = name
    return names


def _free_port() -> int:
    with socket.socket() as found:
        found.bind((LOOPBACK, 0))
        return int(found.getsockname()[1])


def _await(port: int, process: subprocess.Popen[bytes], log: Any) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        if process.poll() is not None or time.monotonic() > deadline:
            log.seek(0)
            said = log.read().decode(errors="replace").strip()
            raise BenchmarkError(f"The server does not start: {said[-500:] or 'it says nothing'}")
        try:
            socket.create_connection((LOOPBACK, port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
