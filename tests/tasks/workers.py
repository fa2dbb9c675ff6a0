"""Real workers of the demo project, on the test database and the run's broker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from celery import Celery
from django.conf import settings
from django.db import connection

from project.celery import app


def database_url() -> str:
    """The test database, for another process."""
    values: dict[str, Any] = connection.settings_dict
    login = ":".join(part for part in (values["USER"], values["PASSWORD"]) if part)
    return f"postgres://{login}@{values['HOST']}:{values['PORT']}/{values['NAME']}"


@contextmanager
def running_worker(
    log: Path, *arguments: str, module: str = "project", pings: Celery = app, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A worker that is ready for tasks within the block, and gone after it.

    Args:
        log: Where it writes what it says; told where it does not become ready.
        arguments: Of `celery worker`, such as its pool.
        module: Where it finds its app.
        pings: This process's app on the same broker.
        environment: Differs from this process's.
    """
    name = f"tests-{uuid4().hex[:8]}@localhost"
    command = [sys.executable, "-m", "celery", "-A", module, "worker", "--loglevel=INFO"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--without-mingle", "--without-gossip", "-n", name, *arguments],
            env={
                **os.environ,
                "DATABASE_URL": database_url(),
                "DATABASE_POOL_SIZE": "1",
                "CELERY_BROKER_URL": settings.CELERY_BROKER_URL,
                "REDIS_URL": settings.CELERY_BROKER_URL,
                "DJANGO_SETTINGS_MODULE": "tests.tasks.worker_settings",
                "DJANGO_SECRET_KEY": "only-for-tests",
                **environment,
            },
            cwd=settings.BASE_DIR,
            stdout=output,
            stderr=output,
        )
    try:
        deadline = time.monotonic() + 60
        while not pings.control.ping(destination=[name], timeout=0.5):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=10)
