"""Cached reads are told once, and every page has the same numbers."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from django.conf import LazySettings

from perfkit.caching.counting import WINDOWS, counting
from perfkit.caching.reports import statistics
from perfkit.caching.store import current_store
from perfkit.monitoring.recording import recorder
from perfkit.signals import cache_read
from tests.caching.conftest import wait_until
from tests.monitoring.conftest import Measured
from tests.plugins.valkey import DisposableValkey
from tests.testapp.models import Item

pytestmark = [pytest.mark.django_db]

OUTCOMES = ("hit", "hit", "hit", "miss", "bypass")


def read(times: int = 1) -> None:
    for _ in range(times):
        for outcome in OUTCOMES:
            cache_read.send(Item, outcome=outcome, reason="size" if outcome == "bypass" else "")


def of_the_store() -> dict[str, int]:
    store = current_store()
    assert store is not None
    window = WINDOWS["day"]
    now = window.part(counting.moment())
    return store.counted([window.name(now - back) for back in range(window.parts)])


def shown() -> tuple[int, int, int]:
    total = statistics(window="day").total
    return total.hits, total.misses, total.bypassed


def measured_reads(measured: Measured) -> tuple[int, int, int]:
    cache = measured.summary("24h").cache
    return cache.hits, cache.misses, cache.bypassed


def check_both(measured: Measured) -> None:
    read(4)
    assert shown() == measured_reads(measured) == (12, 4, 4)
    read()
    assert measured_reads(measured) == shown() == (15, 5, 5)
    assert statistics().labels[0].bypasses == {"size": 5}
    assert of_the_store() == {}, "they are told once"


def test_they_are_told_once_inside_a_process(measured: Measured) -> None:
    check_both(measured)


@pytest.mark.redis
def test_they_are_told_once_to_a_server(measured_on_server: Measured) -> None:
    check_both(measured_on_server)


@pytest.mark.redis
def test_what_was_counted_while_nothing_was_measured_is_there_too(
    measured_on_server: Measured, settings: LazySettings
) -> None:
    read()
    assert shown() == (3, 1, 1)
    settings.PERFKIT = {**settings.PERFKIT, "METRICS_ENABLED": False}
    read(2)
    assert shown() == (9, 3, 3)
    settings.PERFKIT = {**settings.PERFKIT, "METRICS_ENABLED": True}
    read()
    assert shown() == (12, 4, 4)
    assert measured_reads(measured_on_server) == (6, 2, 2)


@pytest.mark.redis
def test_they_are_not_counted_where_statistics_are_off(
    measured_on_server: Measured, settings: LazySettings
) -> None:
    read()
    assert measured_reads(measured_on_server) == (3, 1, 1)
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_STATISTICS": False}
    read(2)
    assert measured_reads(measured_on_server) == (3, 1, 1)
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_STATISTICS": True}
    read()
    assert measured_reads(measured_on_server) == (6, 2, 2)


@pytest.mark.redis
def test_those_of_this_process_are_there_while_the_server_is_away(
    measured_on_server: Measured, server: DisposableValkey
) -> None:
    read()
    assert shown() == (3, 1, 1)
    server.kill()
    read(2)
    found = statistics(window="day")
    assert found.problem
    assert (found.total.hits, found.total.misses, found.total.bypassed) == (6, 2, 2)


KILLED = """
import os, signal, sys, time
import django
from django.conf import settings
url, folder = sys.argv[1:]
settings.configure(
    INSTALLED_APPS=["perfkit"],
    CACHES={"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url}},
    PERFKIT={"METRICS_DIRECTORY": folder, "CACHE_KEY_PREFIX": "killed", "METRICS_INTERVAL": 60.0},
)
django.setup()
from perfkit.monitoring.installing import begin
from perfkit.signals import cache_read
begin()
for _ in range(1000):
    cache_read.send(None, outcome="hit", reason="")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.redis
def test_those_of_a_killed_process_are_told_by_another(
    measured_on_server: Measured, server: DisposableValkey, settings: LazySettings
) -> None:
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_KEY_PREFIX": "killed"}
    folder = settings.PERFKIT["METRICS_DIRECTORY"]
    command = [sys.executable, "-P", "-c", KILLED, server.url, folder]
    ended = subprocess.run(command, cwd=Path.cwd(), env={"PYTHONPATH": str(Path.cwd())}, check=False)
    assert ended.returncode == -signal.SIGKILL
    recorder.record(recorder.series("timed", "heir"), 1)
    counted: Callable[[], bool] = lambda: measured_on_server.summary().cache.hits == 1_000  # noqa: E731
    wait_until(counted)
    assert shown()[0] == 1_000
