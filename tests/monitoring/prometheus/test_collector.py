from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.handlers.base import BaseHandler
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.urls import path
from prometheus_client import REGISTRY, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import CollectorRegistry

from perfkit.api import Limiter
from perfkit.caching import coherence
from perfkit.conf import configured
from perfkit.errors import ModelLimitError
from perfkit.inference import LocalDeterministicAdapter, ModelCache
from perfkit.monitoring import recording
from perfkit.monitoring.ledgers import current_ledger
from perfkit.monitoring.prometheus import MetricsCollector, register
from perfkit.monitoring.prometheus.families import Lag
from perfkit.monitoring.prometheus.lag import LagReader
from perfkit.monitoring.series import TOTALS, total_page
from tests.monitoring.prometheus.saturated import saturate
from tests.monitoring.prometheus.served import Found, number
from tests.plugins.valkey import DisposableValkey

URLS = 100_000
MOST_SERIES = 2_000

pytestmark = pytest.mark.django_db


def view(request: HttpRequest, number: int = 0) -> HttpResponse:
    return HttpResponse(status=500 if number % 1000 == 999 else 200)


urlpatterns = [path("orders/<int:number>", view), path("", view)]


@pytest.fixture
def collector() -> MetricsCollector:
    collector = MetricsCollector()
    collector._lag = LagReader(read=Lag)
    return collector


@pytest.fixture
def scrape(collector: MetricsCollector) -> Callable[[], Found]:
    registry = CollectorRegistry()
    registry.register(collector)

    def found() -> Found:
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(generate_latest(registry).decode())
            for sample in family.samples
        }

    return found


def point_at(settings: Any, server: DisposableValkey, **options: Any) -> None:
    settings.PERFKIT = {**configured(), **options}
    settings.CACHES = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": server.url}}


def test_100000_addresses_are_fewer_than_2000_series(
    measured: Any, scrape: Callable[[], Found], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("CRITICAL", "django.request")
    measured.ROOT_URLCONF = __name__
    measured.MIDDLEWARE = ["perfkit.monitoring.metrics"]
    handler = BaseHandler()
    handler.load_middleware()
    requests = RequestFactory()
    for each in range(URLS):
        address = f"/orders/{each}" if each % 2 else f"/nothing/here/{each}"
        handler.get_response(requests.get(address, SERVER_NAME="localhost"))
    found = scrape()
    print(f"{len(found)} series after {URLS} addresses")
    assert len(found) < MOST_SERIES
    assert number(found, "perfkit_http_requests_total") == URLS
    orders = "/orders/<int:number>"
    assert number(found, "perfkit_http_requests_total", view=orders, status="5xx") == URLS // 1000
    assert number(found, "perfkit_http_request_duration_seconds_count", view="(unmatched)") == URLS // 2
    assert not [labels for _, labels in found if "4711" in str(labels)]


@pytest.mark.redis
def test_it_is_quick_and_bounded_where_everything_is_full(
    measured: Any, scrape: Callable[[], Found], collector: MetricsCollector
) -> None:
    ledger = current_ledger()
    assert ledger.is_shared
    saturate(ledger)
    registry = CollectorRegistry()
    registry.register(collector)
    seconds = []
    for _ in range(20):
        begun = time.perf_counter()
        text = generate_latest(registry)
        seconds.append(time.perf_counter() - begun)
    series = len(scrape())
    print(f"{series} series, {len(text)} bytes, {sorted(seconds)[10] * 1000:.0f} ms")
    assert 1_700 < series < MOST_SERIES
    ledger.clear([total_page(kind) for kind in TOTALS])


def test_limits_and_models_are_counted(measured: Any, scrape: Callable[[], Found]) -> None:
    measured.PERFKIT = {**configured(), "RATE_LIMIT_ENABLED": True}
    limiter = Limiter("2/hour", scope="mails")
    for _ in range(5):
        limiter.take("ann")
    limiter.take("ann", cost=0)
    models = ModelCache(LocalDeterministicAdapter(), cache=True, limit="3/hour")
    told = [models.complete("two words", model="m") for _ in range(2)]
    stream = models.stream("other words, of which nobody reads all", model="m")
    next(stream)
    stream.close()
    with pytest.raises(ModelLimitError):
        models.complete("two words", model="m")
    found = scrape()
    assert number(found, "perfkit_rate_limited_total", rule="mails", outcome="admitted") == 2
    assert number(found, "perfkit_rate_limited_total", rule="mails", outcome="refused") == 3
    assert number(found, "perfkit_rate_limited_total", rule="mails") == 5
    assert [answer.is_cached for answer in told] == [False, True]
    outcomes = {"hit": 1, "miss": 1, "abandoned": 1, "limited": 1, "failure": 0}
    for outcome, times in outcomes.items():
        assert number(found, "perfkit_model_requests_total", model="m", outcome=outcome) == times, outcome
    usage = told[0].usage
    assert usage is not None
    for outcome in ("hit", "miss"):
        tokens = {"model": "m", "outcome": outcome}
        assert number(found, "perfkit_model_tokens_total", direction="input", **tokens) == usage.input_tokens
        assert (
            number(found, "perfkit_model_tokens_total", direction="output", **tokens) == usage.output_tokens
        )


def test_nothing_is_counted_where_nothing_is_measured(measured: Any, scrape: Callable[[], Found]) -> None:
    measured.PERFKIT = {**configured(), "RATE_LIMIT_ENABLED": True, "METRICS_ENABLED": False}
    Limiter("2/hour", scope="mails").take("ann")
    ModelCache(LocalDeterministicAdapter(), cache=True).complete("words", model="m")
    found = scrape()
    assert number(found, "perfkit_metrics_up") == 1
    assert number(found, "perfkit_rate_limited_total") == 0
    assert number(found, "perfkit_model_requests_total") == 0


@pytest.mark.redis
@pytest.mark.parametrize("how", ["kill", "pause"])
def test_a_scrape_is_answered_while_the_cache_server_is_away(
    measured: Any, scrape: Callable[[], Found], valkey_server: Callable[[], DisposableValkey], how: str
) -> None:
    server = valkey_server()
    point_at(measured, server, CACHE_TIMEOUT=0.2, CACHE_RETRY_AFTER=0.5)
    recording.recorder.record(recording.recorder.series("timed", "block"), 1_000)
    while number(scrape(), "perfkit_timed_seconds_count") != 1:  # a busy machine may not answer in time
        time.sleep(0.6)
    getattr(server, how)()
    try:
        begun = time.perf_counter()
        found = scrape()
        seconds = time.perf_counter() - begun
        print(f"{seconds * 1000:.0f} ms while the server is away")
        assert set(found) == {("perfkit_metrics_up", frozenset())}
        assert found["perfkit_metrics_up", frozenset()] == 0
        recording.recorder.record(recording.recorder.series("timed", "block"), 1_000)
        assert number(scrape(), "perfkit_metrics_up") == 0
    finally:
        if how == "pause":
            server.resume()
    if how == "kill":
        server.start()  # it has forgotten everything
    deadline = time.monotonic() + 60
    expected = 1 if how == "kill" else 2
    while number(found, "perfkit_timed_seconds_count") != expected:
        assert time.monotonic() < deadline
        time.sleep(0.1)
        coherence.breaker.succeeded()
        recording.recorder._rests_until = 0.0
        found = scrape()
    assert number(found, "perfkit_metrics_up") == 1


@pytest.mark.redis
def test_a_server_that_is_known_to_be_away_is_not_asked(
    measured: Any, scrape: Callable[[], Found], valkey_server: Callable[[], DisposableValkey]
) -> None:
    server = valkey_server()
    point_at(measured, server, CACHE_RETRY_AFTER=60.0)
    coherence.breaker.failed("it is said to be away")
    assert number(scrape(), "perfkit_metrics_up") == 0
    coherence.breaker.succeeded()
    assert number(scrape(), "perfkit_metrics_up") == 1


def test_wrong_settings_are_no_error_of_a_scrape(measured: Any, scrape: Callable[[], Found]) -> None:
    measured.PERFKIT = {**configured(), "CACHE_ALIAS": "nowhere"}
    assert number(scrape(), "perfkit_metrics_up") == 0


def test_to_register_asks_nobody(monkeypatch: pytest.MonkeyPatch, collector: MetricsCollector) -> None:
    monkeypatch.setattr(MetricsCollector, "collect", None)
    registry = CollectorRegistry(auto_describe=True)
    registry.register(collector)
    assert "perfkit_http_requests_total" in registry._names_to_collectors


def test_it_stands_in_the_registry_of_the_process_once() -> None:
    if not django_settings.HAS_PROMETHEUS:
        register()
    register()
    register(REGISTRY)
    names = [metric.name for metric in REGISTRY.collect()]
    assert names.count("perfkit_metrics_up") == 1
