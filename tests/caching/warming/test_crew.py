"""Threads that fill batches: what they share, how they end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from django.db import connection, connections

from perfkit.caching import Answer, WarmResult, cached, warm
from perfkit.caching.store import current_store
from perfkit.caching.warming import sharing
from perfkit.caching.warming.sharing import _lease_name
from perfkit.caching.warming.wanted import batches
from tests.caching.conftest import Outcome
from tests.caching.warming.conftest import hits
from tests.caching.warming.functions import name_of, ran, threads
from tests.testapp.models import Item

pytestmark = pytest.mark.django_db(transaction=True)

Warmed = Callable[..., WarmResult]


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    ran.clear()
    threads.clear()


def names(items: list[Item]) -> Callable[[], Iterator[Any]]:
    return lambda: (partial(name_of, item.pk) for item in items)


@pytest.mark.parametrize("jobs", [2, 5])
def test_many_threads_store_what_one_does(
    warmed: Warmed, items: list[Item], reads: list[Outcome], jobs: int
) -> None:
    def everything() -> Iterator[Any]:
        yield Item.plain.all()
        yield Answer(Item.objects.filter(count=1))
        yield from names(items[:200])()

    result = warmed(everything, jobs=jobs)
    assert (result.wanted, result.entries, result.held, result.error) == (1401, 1401, 0, "")
    assert sorted(ran) == sorted(item.pk for item in items[:200])
    assert 1 <= len(threads) <= jobs
    assert all(name.startswith("perfkit-warming-") for name in threads)
    assert hits(reads, items) == 1200
    assert warmed(everything, jobs=jobs).held == 1401


def test_one_job_is_done_by_the_calling_thread(warmed: Warmed, few: list[Item]) -> None:
    warmed(names(few))
    assert threads == {threading.current_thread().name}


@pytest.mark.postgres  # those to a database in memory are never closed
def test_its_threads_and_their_connections_are_gone_at_the_end(warmed: Warmed, few: list[Item]) -> None:
    opened: list[Any] = []

    @cached(ttl=600)
    def connects(number: int) -> int:
        connection.ensure_connection()
        opened.append(connections["default"])
        return Item.plain.count() + number

    warmed(lambda: [partial(connects, number) for number in range(40)], jobs=3)
    assert opened
    assert all(each.connection is None for each in opened)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("perfkit-warming-")]


@pytest.mark.parametrize("jobs", [0, -1, 1.5, True, "2"])
def test_it_refuses_other_numbers_of_jobs(jobs: Any) -> None:
    with pytest.raises(ValueError, match="jobs is a whole number, at least 1"):
        warm(jobs=jobs)


@pytest.mark.parametrize("jobs", [1, 3])
def test_it_leaves_a_batch_to_another_one_and_looks_again_at_the_end(
    warmed: Warmed, few: list[Item], jobs: int
) -> None:
    """Another host is at the first batch; it fills half of it, and is done when all others are."""
    store = current_store()
    assert store is not None
    first = next(iter(batches(names(few)())))
    name = _lease_name(first)
    assert store.lease(name, lease_ms=30_000)
    told: list[int] = []

    def done(_: str, so_far: int, total: int) -> None:
        told.append(so_far)
        if so_far == 15:
            for item in few[:5]:
                name_of(item.pk)
            store.release(name)

    result = warmed(names(few), jobs=jobs, progress=done)
    assert told[-1] == 25
    assert (result.wanted, result.entries, result.held) == (25, 20, 5)
    assert sorted(ran) == sorted(item.pk for item in few)


@pytest.mark.parametrize("jobs", [1, 3])
def test_it_fills_what_a_dead_one_has_left(warmed: Warmed, few: list[Item], jobs: int) -> None:
    store = current_store()
    assert store is not None
    for batch in batches(names(few)()):
        assert store.lease(_lease_name(batch), lease_ms=300)
    assert warmed(names(few), jobs=jobs).entries == 25


def test_it_waits_for_no_longer_than_it_must(
    warmed: Warmed, few: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody takes the lease again and again."""
    store = current_store()
    assert store is not None
    monkeypatch.setattr(sharing, "LEASE_SECONDS", 0.2)
    for batch in batches(names(few)()):
        assert store.lease(_lease_name(batch), lease_ms=60_000)
    assert warmed(names(few)).entries == 25


def test_it_keeps_few_batches_that_are_left_to_others(
    warmed: Warmed, items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perfkit.caching.warming.crew.MOST_LEFT", 2)
    store = current_store()
    assert store is not None
    for batch in batches(names(items[:100])()):
        assert store.lease(_lease_name(batch), lease_ms=400)
    assert warmed(names(items[:100])).entries == 100


def test_it_frees_its_lease_where_filling_fails(warmed: Warmed, few: list[Item]) -> None:
    with pytest.raises(KeyboardInterrupt):
        warmed(lambda: [partial(interrupts, few[0].pk)])
    [batch] = batches([partial(interrupts, few[0].pk)])
    store = current_store()
    assert store is not None
    assert store.lease(_lease_name(batch), lease_ms=1000)


@cached(ttl=600)
def interrupts(pk: int) -> str:
    raise KeyboardInterrupt


@pytest.mark.parametrize("jobs", [1, 4])
def test_it_ends_at_once_where_it_is_interrupted(warmed: Warmed, items: list[Item], jobs: int) -> None:
    """What was done stays, and is told."""
    told: list[WarmResult] = []

    def endless() -> Iterator[Any]:
        for number, item in enumerate(items * 100):
            if number == 95:
                raise KeyboardInterrupt
            yield partial(name_of, item.pk)

    with pytest.raises(KeyboardInterrupt):
        warmed(endless, jobs=jobs, told=told.append)
    [result] = told
    assert result.error == "interrupted: KeyboardInterrupt"
    assert result.entries == len(ran) <= 95
    assert result.entries == 90 if jobs == 1 else result.entries % 10 == 0
    assert warmed(names(items[:95])).held == result.entries


def test_an_interrupt_in_a_thread_ends_all(warmed: Warmed, few: list[Item]) -> None:
    with pytest.raises(KeyboardInterrupt):
        warmed(lambda: (partial(interrupts if item is few[12] else name_of, item.pk) for item in few), jobs=2)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("perfkit-warming-")]
