"""The cache server is not there, goes while a model is asked, or hangs: answers come, and the budget refuses."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import DatabaseError, connection, connections, transaction

from perfkit.caching import coherence
from perfkit.caching.store import forget_store
from perfkit.conf import configured
from perfkit.errors import CacheUnreachableError, LimiterUnavailableError
from perfkit.inference import CallRetries, ModelCache, OpenAICompatibleAdapter
from perfkit.limiting import limiter
from project.services.processes import free_port
from project.services.state import LOOPBACK
from tests.caching.conftest import wait_until
from tests.inference.child import PRICES, outcome
from tests.inference.conftest import Asker
from tests.inference.upstream import Reply, Upstream
from tests.plugins.valkey import DisposableValkey

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres, pytest.mark.redis]

WAYS = ["complete", "acomplete", "stream", "astream"]
REFUSED = (
    "ModelBudgetError: The model is not asked for its budget: the cache server, which counts it, does not"
)


def use(settings: Any, url: str, **options: Any) -> None:
    settings.CACHES = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url}}
    timing = {"CACHE_TIMEOUT": 0.3, "CACHE_RETRY_AFTER": 0.2}
    settings.PERFKIT = {**configured(), **timing, **options}
    forget_store()
    coherence.breaker.succeeded()
    limiter.breaker.succeeded()


@pytest.fixture
def models(adapter: OpenAICompatibleAdapter) -> ModelCache:
    return ModelCache(adapter, cache=True, prices=PRICES, retries=CallRetries(backoff_seconds=0.01))


@pytest.fixture
def cache_server(
    valkey_server: Callable[[], DisposableValkey], settings: Any, server: Upstream
) -> DisposableValkey:
    cache_server = valkey_server()
    use(settings, cache_server.url)
    return cache_server


@pytest.fixture
def thrifty(adapter: OpenAICompatibleAdapter) -> ModelCache:
    return ModelCache(adapter, cache=True, prices=PRICES, daily_budget=PRICES.input_per_million)


def nowhere() -> str:
    return f"redis://{LOOPBACK}:{free_port()}/0"


@pytest.mark.parametrize("way", WAYS)
def test_without_a_cache_server_all_are_answered(
    server: Upstream, models: ModelCache, thrifty: ModelCache, settings: Any, way: str
) -> None:
    use(settings, nowhere())
    assert [outcome(models, way, "Hello") for _ in range(3)] == [("Good day", False)] * 3
    assert len(server.calls) == 3
    server.replies = [Reply(500, body=b""), Reply(404, body=b"")]
    assert outcome(models, way, "Hello")[0].startswith("ModelRefusedError")
    assert outcome(thrifty, way, "Hello", max_tokens=2)[0].startswith(REFUSED)
    assert len(server.calls) == 5
    with pytest.raises(CacheUnreachableError):
        models.statistics()


def test_a_limit_is_as_closed_as_its_setting(server: Upstream, models: ModelCache, settings: Any) -> None:
    use(settings, nowhere(), RATE_LIMIT_OUTAGE="closed")
    with pytest.raises(LimiterUnavailableError):
        models.complete("Hello", model="m")
    assert not server.calls


@pytest.mark.parametrize(
    ("way", "writes"), [*[(way, "refuse") for way in WAYS], ("acomplete", "wait"), ("stream", "bounded")]
)
def test_an_answer_is_not_lost_with_the_cache_server(
    server: Upstream, models: ModelCache, cache_server: DisposableValkey, settings: Any, way: str, writes: str
) -> None:
    use(settings, cache_server.url, CACHE_OUTAGE_WRITES=writes)
    gate = threading.Event()
    server.usual = Reply(gate=gate)
    told: list[tuple[str, bool]] = []

    def ask() -> None:
        told.append(outcome(models, way, "Hello"))
        connections.close_all()

    thread = threading.Thread(target=ask)
    thread.start()
    server.wait_for_calls(1)
    cache_server.kill()
    gate.set()
    thread.join(timeout=20)
    assert told == [("Good day", False)]
    cache_server.start()
    wait_until(lambda: outcome(models, way, "Hello")[1])
    assert models.statistics().hits > 0


def test_a_broken_transaction_takes_no_answer_with_it(
    server: Upstream, models: ModelCache, cache_server: DisposableValkey
) -> None:
    """Nothing is written to the database, though the cache server cannot be told."""
    gate = threading.Event()
    server.replies = [Reply(gate=gate, gate_stands_after=1)]
    with transaction.atomic():
        stream = models.stream("Hello", model="m")
        next(stream)
        cache_server.kill()
        with pytest.raises(DatabaseError), connection.cursor() as cursor:
            cursor.execute("SELECT no_such_column")
        gate.set()
        assert list(stream) == ["day"]
        transaction.set_rollback(True)
    assert stream.answer.text == "Good day"


def test_a_hanging_cache_server_costs_little(
    server: Upstream, models: ModelCache, thrifty: ModelCache, cache_server: DisposableValkey, settings: Any
) -> None:
    use(settings, cache_server.url, CACHE_RETRY_AFTER=60.0)
    models.complete("Hello", model="m")
    cache_server.pause()
    outcome(models, "complete", "Hello")  # finds out
    begun = time.monotonic()
    assert [outcome(models, "complete", "Hello") for _ in range(20)] == [("Good day", False)] * 20
    assert outcome(thrifty, "complete", "Hello", max_tokens=2)[0].startswith(REFUSED)
    assert time.monotonic() - begun < 20 * 0.3, "not one of them waits for it"
    cache_server.resume()
    use(settings, cache_server.url)
    assert outcome(models, "complete", "Hello") == ("Good day", True)


def test_processes_go_on_alone_when_it_is_killed_amid_their_call(
    server: Upstream, cache_server: DisposableValkey, askers: Callable[..., list[Asker]]
) -> None:
    gate = threading.Event()
    server.usual = Reply(gate=gate)
    params = {"max_tokens": 2}
    options = {"url": server.url, "daily_budget": PRICES.input_per_million}
    leader, other = askers(2, redis_url=cache_server.url, CACHE_TIMEOUT=1.0, CACHE_RETRY_AFTER=0.2)
    free = {"url": server.url}
    leader.start("ask", options, "stream", ["Hello", "Hi"], params)
    server.wait_for_calls(1)
    other.start("ask", free, "acomplete", ["Hello"], params)
    other.wait_until_it_waits()
    cache_server.kill()
    server.wait_for_calls(2)
    gate.set()
    answered, refused = leader.answer()
    assert answered == ("Good day", False)
    assert refused[0].startswith(REFUSED), "what is not counted is not spent"
    assert other.answer() == [("Good day", False)]
