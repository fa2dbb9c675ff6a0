"""What is kept of a million events, and of a day in which everything happens."""

from __future__ import annotations

import gc
import time
from typing import Final

import psutil
import redis
from django.core.handlers.base import BaseHandler
from django.test import RequestFactory, override_settings

from benchmarks.figures import Figure
from benchmarks.loads.scene import Section
from perfkit.conf import configured
from perfkit.monitoring.buckets import BOUNDS, bucket_of
from perfkit.monitoring.ledgers import Told, Vector, current_ledger
from perfkit.monitoring.recorder import SERIES_AT_ONCE
from perfkit.monitoring.recording import recorder
from perfkit.monitoring.series import FIRST_BUCKET, MINUTES, Series, pages_of

MEBI: Final = 1024 * 1024
URLS: Final = 100_000
EVENTS: Final = 1_000_000
MOST_MEBIBYTES: Final = 16
VIEWS: Final = 60
STATEMENTS: Final = 400


def kept(client: redis.Redis, *, events: int = EVENTS, urls: int = URLS) -> Section:
    """Ask for many addresses and record many events; then fill each minute of a day.

    Args:
        client: Of the server's database that the ledger is in, which holds nothing else.
    """
    with override_settings(
        MIDDLEWARE=["perfkit.monitoring.metrics"],
        PERFKIT={**configured(), "METRICS_ENABLED": True, "CACHE_TIMEOUT": 5.0},
    ):
        handler = BaseHandler()
        handler.load_middleware()
        factory = RequestFactory()
        handler.get_response(factory.get("/numbers/1/")).close()
        _tell_all()
        gc.collect()
        before = psutil.Process().memory_info().rss
        for number in range(urls):
            handler.get_response(factory.get(f"/numbers/{number}/")).close()
        for number in range(events - urls):
            series = recorder.series("query", "default", "SELECT", f"{number % (5 * STATEMENTS):012x}")
            recorder.record(series, 100 + number % 9_000)
        _tell_all()
        gc.collect()
        grown = psutil.Process().memory_info().rss - before
        after_events = _bytes(client)
        _fill_a_day()
        after_day = _bytes(client)
    told = [
        (f"{events:,} events, {urls:,} addresses: the server", after_events),
        (f"{events:,} events, {urls:,} addresses: the process", grown),
        (f"a day, each minute of it with {VIEWS} views and {STATEMENTS} statements: the server", after_day),
    ]
    return Section(
        [(name, f"{size / MEBI:.1f}", "", "") for name, size in told],
        [Figure(name, size / MEBI, "MiB", MOST_MEBIBYTES, "lower") for name, size in told],
    )


def _tell_all() -> None:
    """Tell what was recorded, and wait for the thread that may be telling a part of it."""
    while not recorder.tell():
        time.sleep(0.1)


def _bytes(client: redis.Redis) -> int:
    """Return what all keys take."""
    return sum(client.memory_usage(key, samples=0) or 0 for key in client.scan_iter(count=1000))


def _fill_a_day() -> None:
    """Tell what a busy project measures in each minute of the last day."""
    ledger = current_ledger()
    now = time.time()
    sums: dict[Series, Vector] = {}
    for view in range(VIEWS):
        sums[Series("request", ("GET", f"/a/view/of/its/own/{view}/<int:pk>/", "2xx"))] = _spread(view)
    for status in ("3xx", "4xx", "5xx"):
        sums[Series("request", ("GET", "/a/view/", status))] = _spread(3)
    for number in range(STATEMENTS):
        sums[Series("query", ("default", "SELECT", f"{number:012x}"))] = _spread(number)
    for label in range(20):
        for outcome in ("hit", "miss"):
            sums[Series("cache", (f"app.Model{label}", outcome, ""))] = {0: 1000}
    number = 0
    for minute in range(MINUTES.parts - 1, -1, -1):
        moment = now - minute * 60
        day = int(now // 86_400)
        for begin in range(0, len(sums), SERIES_AT_ONCE):
            some = dict(list(sums.items())[begin : begin + SERIES_AT_ONCE])
            number += 1
            ledger.add(Told("a day", number, day, pages_of(some, moment, now=now)))


def _spread(seed: int) -> Vector:
    """Return durations in some fifteen buckets."""
    first = bucket_of(200 + 40 * (seed % 50))
    vector = {FIRST_BUCKET + min(first + 4 * step, len(BOUNDS)): 1 + 100 // (1 + step) for step in range(15)}
    return {0: 5_000_000, 1: 3_000_000, 2: 400, **vector}
