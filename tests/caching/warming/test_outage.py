"""The cache server goes, before or while it is filled."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import connection

from perfkit.caching import Answer, WarmResult, coherence, warm
from perfkit.caching.warming import row_batches
from perfkit.models import PendingInvalidation
from tests.caching.conftest import wait_until
from tests.caching.warming.functions import name_of, ran
from tests.plugins.valkey import DisposableValkey
from tests.testapp.models import Airfield, Item

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]

Warmed = Callable[..., WarmResult]
JOBS = pytest.mark.parametrize("jobs", [1, 3])


@pytest.fixture
def server(valkey_server: Callable[[], DisposableValkey], settings: LazySettings) -> DisposableValkey:
    server = valkey_server()
    settings.CACHES = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": server.url}}
    return server


@JOBS
def test_it_says_that_the_server_does_not_answer(
    server: DisposableValkey, items: list[Item], warmers: dict[str, Any], jobs: int
) -> None:
    Airfield.plain.create(code="JFK", name="Kennedy")
    warmers["list"] = lambda: Answer(Item.objects.all())
    warmers["calls"] = lambda: (partial(name_of, item.pk) for item in items)
    ran.clear()
    server.kill()
    results = warm(jobs=jobs)
    assert [(result.entries, result.errors) for result in results] == [(0, 1)] * 4
    assert all("the cache" in result.error for result in results)
    assert ran == [], "a function was called in vain"


@pytest.mark.parametrize("kind", ["rows", "lists", "calls"])
@JOBS
def test_it_stops_where_the_server_goes_meanwhile(
    server: DisposableValkey,
    items: list[Item],
    warmed: Warmed,
    kind: str,
    jobs: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(row_batches, "BATCH_ROWS", 100)  # else each of the threads has the last of its own
    kinds: dict[str, Callable[[], Iterator[Any]]] = {
        "rows": lambda: iter([Item.plain.all()]),
        "lists": lambda: (Answer(Item.objects.filter(pk=item.pk)) for item in items[:100]),
        "calls": lambda: (partial(name_of, item.pk) for item in items[:100]),
    }
    ran.clear()
    gone: list[int] = []

    def goes(_: str, done: int, total: int) -> None:
        if done >= 20 and not gone:
            gone.append(done)
            server.kill()

    result = warmed(kinds[kind], progress=goes, jobs=jobs)
    assert gone[0] <= result.entries < (1200 if kind == "rows" else 100)
    assert result.errors == 1
    assert "the cache" in result.error
    assert len(ran) < 100

    Item.plain.update(name="new")
    server.start()
    wait_until(lambda: warmed(kinds[kind], jobs=jobs).error == "")
    assert not coherence.breaker.is_open
    assert Item.objects.get(pk=items[0].pk).name == "new"
    assert Item.objects.filter(pk=items[0].pk)[0].name == "new"
    assert name_of(items[0].pk) == "new"


def test_it_fills_everything_as_soon_as_the_server_is_back(
    server: DisposableValkey, items: list[Item]
) -> None:
    """Nothing else reads in this process, so warming itself must find out."""
    server.kill()
    assert warm(["items"])[0].error
    server.start()
    wait_until(lambda: warm(["items"])[0].held == 900)
    assert not coherence.breaker.is_open
    assert warm(["items"])[0].error == ""


@JOBS
def test_it_goes_on_after_a_moment_in_which_the_server_does_not_answer(
    server: DisposableValkey, items: list[Item], warmed: Warmed, settings: LazySettings, jobs: int
) -> None:
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_TIMEOUT": 0.3, "CACHE_RETRY_AFTER": 0.3}

    def wanted() -> Iterator[Any]:
        yield Item.plain.all()
        yield from (partial(name_of, item.pk) for item in items[:60])

    hung: list[threading.Timer] = []

    def hangs(_: str, done: int, total: int) -> None:
        if done >= 1200 and not hung:
            server.pause()
            hung.append(threading.Timer(0.5, server.resume))
            hung[0].start()

    result = warmed(wanted, progress=hangs, jobs=jobs)
    hung[0].join()
    assert (result.wanted, result.error) == (1260, "")
    assert warmed(wanted).held == 1260


def test_it_waits_while_another_thread_looks_into_the_outbox(items: list[Item], warmed: Warmed) -> None:
    """And that one waits itself, for somebody holds the table."""
    holder = connection.copy()
    holder.set_autocommit(False)
    table = connection.ops.quote_name(PendingInvalidation._meta.db_table)
    with holder.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
    coherence.outbox.look_again("default")
    looking = threading.Thread(target=_read, args=[items[0].pk])
    looking.start()
    wait_until(lambda: "default" in coherence.outbox._looking)
    release = threading.Timer(0.5, holder.connection.rollback)
    release.start()
    result = warmed(lambda: (partial(name_of, item.pk) for item in items[:60]), jobs=3)
    for thread in (release, looking):
        thread.join()
    holder.close()
    assert (result.entries, result.error) == (60, "")


def _read(pk: int) -> None:
    Item.objects.get(pk=pk)
    connection.close()
