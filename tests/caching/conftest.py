"""What every test of the room starts from: an empty store, a closed breaker, an outbox nobody has looked into."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from django.conf import LazySettings
from django.db import connection
from django.utils import timezone, translation

from perfkit.caching import coherence, trust
from perfkit.caching.counting import counting
from perfkit.caching.flights import durations
from perfkit.caching.memory import memory
from perfkit.caching.relations import forget_relations
from perfkit.caching.scope import end_scope
from perfkit.caching.store import Store, current_store, forget_store
from perfkit.caching.store.cluster import ClusterStore
from perfkit.caching.store.redis import RedisStore
from perfkit.caching.unique import forget_keys
from perfkit.signals import cache_outage, cache_read
from tests.caching.processes import Process
from tests.plugins.valkey import DisposableValkey
from tests.testapp.models import Item

Outcome = tuple[str, str, str]


def wait_until(claim: Callable[[], bool], *, seconds: float = 10.0) -> None:
    """Return once `claim` holds."""
    deadline = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < deadline, "It did not come true in time."
        time.sleep(0.005)


def forget_everything() -> None:
    """Bring this process to the state of one that has just started, outside of all requests."""
    end_scope()  # that of a request which another test's client has left open
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
    counting.begin_anew()


@pytest.fixture(autouse=True)
def no_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what processes of other tests have measured on the same server."""
    monkeypatch.setattr(counting, "taker", None)


@pytest.fixture(autouse=True)
def _awaited_fills(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for each fill, apart from the tests of the store itself.

    What nobody waits for may reach the server after the question of another connection, on a busy machine.
    """
    if "store" not in request.path.parts:
        for kind in (RedisStore, ClusterStore):
            monkeypatch.setattr(kind, "offer", Store.offer)


@pytest.fixture(autouse=True)
def _fresh_context() -> None:
    """Forget which language and time zone the last request of an earlier test has left active in this thread."""
    translation.deactivate()
    timezone.deactivate()


@pytest.fixture(autouse=True)
def _fresh_cache(settings: LazySettings) -> Iterator[None]:
    """Empty the store around each test; a busy machine must not look like an outage meanwhile.

    Nothing is counted, for the store would be told of it at any time: the tests of that count by themselves.
    """
    settings.PERFKIT = {
        **settings.PERFKIT,
        "CACHE_TIMEOUT": 5.0,
        "CACHE_RETRY_AFTER": 0.1,
        "CACHE_STATISTICS": False,
    }
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
        told.append((getattr(sender, "__name__", "") or sender.name, outcome, reason))

    cache_read.connect(listen)
    yield told
    cache_read.disconnect(listen)


@pytest.fixture
def counted(settings: LazySettings) -> None:
    """Have reads counted, as they are where nobody says otherwise."""
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_STATISTICS": True}


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


def write_unseen(table: str, column: str = "name", value: str = "new") -> None:
    """Change all rows as another program would: perfkit sees nothing of it."""
    connection.ensure_connection()
    connection.connection.execute(f"UPDATE {table} SET {column} = '{value}'")


@pytest.fixture
def outdated_item() -> Item:
    """A row that is in the cache, in each way, and in the database is another by now."""
    item = Item.plain.create(name="old")
    for _ in range(2):
        Item.objects.get(pk=item.pk)
        list(Item.objects.filter(name__gt=""))
    write_unseen("testapp_item")
    assert Item.objects.get(pk=item.pk).name == "old", "what this is about"
    assert [each.name for each in Item.objects.filter(name__gt="")] == ["old"]
    return item
