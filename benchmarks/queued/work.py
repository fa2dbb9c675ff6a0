"""The work: functions that leave rows, as jobs and as bare Celery tasks."""

from __future__ import annotations

import os
import time
from typing import Final

from celery import shared_task
from django.db import connection

from perfkit import cached
from perfkit.jobs import current_run, job

GATE: Final = 2013
"""The advisory lock that whoever measures holds while jobs are enqueued."""

SLOW_SECONDS: Final = 0.05
NEVER_SECONDS: Final = 60.0
"""Longer than the worker of a first run lives."""


def leave(number: int) -> None:
    """Insert one row, which notes the moment."""
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO benchmark_effect (number) VALUES (%s)", (number,))


def begin(number: int) -> None:
    """Insert one row, which notes the process too."""
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO benchmark_effect (number, worker) VALUES (%s, %s)", (number, os.getpid()))


def wait_for_gate() -> None:
    """Hold the worker until the gate is opened."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", (GATE,))
        cursor.execute("SELECT pg_advisory_unlock(%s)", (GATE,))


def leave_and_stay(number: int, seconds: float) -> None:
    """Insert one row, and take a while."""
    leave(number)
    time.sleep(seconds)


@job
def leave_job(number: int) -> None:
    leave(number)


@shared_task(ignore_result=True)
def leave_task(number: int) -> None:
    leave(number)


@shared_task(ignore_result=True)
def gate_task() -> None:
    wait_for_gate()


@job(lease=2)
def leave_and_stay_job(number: int, seconds: float) -> None:
    leave_and_stay(number, seconds)


@shared_task(ignore_result=True)
def leave_and_stay_task(number: int, seconds: float) -> None:
    leave_and_stay(number, seconds)


def _outlast(number: int, seconds: float) -> float:
    """Stay for ever where the worker is to die, else for so long; return how long it took."""
    started = time.monotonic()
    run = current_run()
    assert run is not None
    begin(number)
    time.sleep(NEVER_SECONDS if run.number == 1 else seconds)
    return time.monotonic() - started


@job(lease=2)
def outlast_2(number: int, seconds: float) -> float:
    return _outlast(number, seconds)


@job(lease=10)
def outlast_10(number: int, seconds: float) -> float:
    return _outlast(number, seconds)


@shared_task(ignore_result=True)
def outlast_task(number: int, seconds: float) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM benchmark_effect WHERE number = %s", (number,))
        (runs,) = cursor.fetchone()
    begin(number)
    time.sleep(seconds if runs else NEVER_SECONDS)


def compute(number: int) -> int:
    """Take 50 ms."""
    time.sleep(SLOW_SECONDS)
    return number * 2


@job(key="compute:{number}", ttl=3600)
def compute_job(number: int) -> int:
    return compute(number)


@cached("benchmark:compute:{number}", ttl=3600)
def compute_cached(number: int) -> int:
    return compute(number)
