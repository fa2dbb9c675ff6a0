"""What is read over time, and what is left of it while the server is away."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest
from django.conf import LazySettings

from perfkit.caching.store import StoreError
from perfkit.monitoring.histories import read_history
from perfkit.monitoring.ledgers import Ledger, Told, current_ledger
from perfkit.monitoring.recording import recorder
from perfkit.monitoring.series import Series, pages_of
from perfkit.monitoring.summary import RANGES, read_summary
from tests.caching.conftest import forget_everything
from tests.monitoring.events import add_event
from tests.plugins.valkey import DisposableValkey

NOW = 1_800_000_000.0
NAMES = ["request\tGET\t/a/\t2xx"]


@pytest.fixture
def ledger(settings: LazySettings) -> Iterator[Ledger]:
    prefix = uuid.uuid4().hex
    settings.PERFKIT = {
        **settings.PERFKIT,
        "METRICS_ENABLED": True,
        "CACHE_TIMEOUT": 5.0,
        "CACHE_KEY_PREFIX": prefix,
    }
    forget_everything()
    caches = settings.CACHES
    yield current_ledger()
    settings.CACHES = caches
    recorder.forget()
    forget_everything()


def record(ledger: Ledger, moment: float, *, times: int = 1, view: str = "/a/") -> None:
    series = Series("request", ("GET", view, "2xx"))
    sums: dict[Series, dict[int, int]] = {series: {}}
    for _ in range(times):
        add_event(sums[series], series, 1000, 500, 2)
    ledger.add(Told(uuid.uuid4().hex, 1, int(moment // 86_400), pages_of(sums, moment)))


def test_it_returns_each_part_with_what_was_asked_for(ledger: Ledger) -> None:
    record(ledger, NOW, times=3)
    record(ledger, NOW - 600, times=5)
    record(ledger, NOW, view="/b/")
    found = read_history(NAMES, "1h", now=NOW + 60)
    assert len(found) == RANGES["1h"].parts
    counts = [stretch.pages.all_requests().timing.count for stretch in found]
    assert counts == [0] * 10 + [5, 0, 3]
    assert [stretch.seconds for stretch in found] == [300.0] * 12 + [60.0]
    assert found[-1].moment == NOW


@pytest.mark.parametrize("since", RANGES)
def test_it_knows_every_range(ledger: Ledger, since: str) -> None:
    record(ledger, NOW)
    found = read_history(NAMES, since, now=NOW)
    assert sum(stretch.pages.all_requests().timing.count for stretch in found) == 1


def test_it_refuses_another_range_and_asks_nothing_for_nothing(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="since must be one of"):
        read_history(NAMES, "1d")
    assert read_history([], "1h") == []


@pytest.mark.redis
def test_what_waits_is_shown_while_the_server_is_away(
    ledger: Ledger, settings: LazySettings, valkey_server: Callable[[], DisposableValkey]
) -> None:
    server = valkey_server()
    settings.CACHES = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": server.url}}
    forget_everything()
    series = recorder.series("request", "GET", "/a/", "2xx")
    recorder.record(series, 1000)
    assert read_summary().is_shared
    server.kill()
    for _ in range(3):
        recorder.record(series, 1000)
    found = read_summary()
    assert "does not answer" in found.problem
    assert not found.is_shared
    assert (found.requests.timing.count, [view.view for view in found.views]) == (3, ["/a/"])
    with pytest.raises(StoreError):
        read_history(NAMES, "1h")
