"""What every test of the room starts from: an empty store, a closed breaker, an outbox nobody has looked into."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from django.conf import LazySettings

from perfkit.caching import coherence, trust
from perfkit.caching.flights import durations
from perfkit.caching.memory import memory
from perfkit.caching.relations import forget_relations
from perfkit.caching.store import Store, current_store, forget_store
from perfkit.caching.store.redis import RedisStore
from perfkit.caching.unique import forget_keys
from perfkit.signals import cache_outage, cache_read
from tests.caching.processes import Process
from tests.plugins.valkey import DisposableValkey

Outcome = tuple[str, str, str]


def wait_until(claim: Callable[[], bool], *, seconds: float = 10.0) -> None:
    """Return once `claim` holds."""
    deadline = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < deadline, "It did not come true in time."
        time.sleep(0.005)


def forget_everything() -> None:
    """Bring this process to the state of one that has just started."""
    forget_store()
    coherence.breaker.succeeded()
    coherence.outbox._next_look.clear()
    coherence.outbox._distrusted.clear()
    coherence.silence.forget()
    coherence.outbox._found.clear()
    trust._warned.clear()
    memory.clear()
    forget_relations()
    durations.clear()
    forget_keys()


@pytest.fixture(autouse=True)
def _awaited_fills(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for each fill, apart from the tests of the store itself.

    What nobody waits for may reach the server after the question of another connection, on a busy machine.
    """
    if "store" not in request.path.parts:
        monkeypatch.setattr(RedisStore, "offer", Store.offer)


@pytest.fixture(autouse=True)
def _fresh_cache(settings: LazySettings) -> Iterator[None]:
    """Empty the store around each test; a busy machine must not look like an outage meanwhile."""
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_TIMEOUT": 5.0, "CACHE_RETRY_AFTER": 0.1}
    forget_everything()
    store = current_store()
    assert store is not None
    store.clear()
    yield
    forget_everything()
    store.clear()
    store.close()


@pytest.fixture
def reads() -> Iterator[list[Outcome]]:
    """What `cache_read` told: the model's name, the outcome, the reason."""
    told: list[Outcome] = []

    def listen(sender: Any, outcome: str, reason: str, **_: Any) -> None:
        told.append((sender.__name__, outcome, reason))

    cache_read.connect(listen)
    yield told
    cache_read.disconnect(listen)


@pytest.fixture
def outages() -> Iterator[list[bool]]:
    """What `cache_outage` told: True where the server went, False where it came back."""
    told: list[bool] = []

    def listen(is_down: bool, **_: Any) -> None:
        told.append(is_down)

    cache_outage.connect(listen)
    yield told
    cache_outage.disconnect(listen)


@pytest.fixture
def start() -> Iterator[Callable[..., Process]]:
    """A function that starts a process; all that still run end with the test."""
    processes = []

    def start(**options: Any) -> Process:
        processes.append(Process(**options))
        return processes[-1]

    yield start
    for process in processes:
        process.end()


@pytest.fixture
def server(valkey_server: Callable[[], DisposableValkey], settings: LazySettings) -> DisposableValkey:
    """A cache server that may be killed, and is this process's."""
    server = valkey_server()
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_TIMEOUT": 0.5, "CACHE_RETRY_AFTER": 0.1}
    settings.CACHES = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": server.url}}
    return server


@pytest.fixture
def direct(server: DisposableValkey) -> Iterator[redis.Redis]:
    """A way to the server past perfkit."""
    with redis.Redis.from_url(server.url) as client:
        yield client
