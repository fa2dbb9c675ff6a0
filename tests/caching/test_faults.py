"""Faults of the cache server other than its absence: it is slow, too small, gone at the worst moment."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import redis
from django.conf import LazySettings

from tests.caching.conftest import Outcome, wait_until
from tests.caching.processes import Process
from tests.plugins.valkey import DisposableValkey
from tests.testapp.models import Bundle, Item, Sample

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis, pytest.mark.postgres]

KINDS = ("get", "list", "aggregate")
"""See `child.READS`."""


def name(pk: int) -> str:
    return Item.objects.get(pk=pk).name


def names() -> list[str]:
    return list(Item.objects.order_by("id").values_list("name", flat=True))


class Stutter:
    """Lets a server stand still most of the time, so that each answer comes later than anybody waits for it."""

    def __init__(self, server: DisposableValkey, *, still_seconds: float) -> None:
        self._server = server
        self._still_seconds = still_seconds
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._stutter)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _stutter(self) -> None:
        while not self._is_over.is_set():
            self._server.pause()
            self._is_over.wait(self._still_seconds)
            self._server.resume()
            self._is_over.wait(0.005)


def test_it_takes_no_late_answer_for_that_to_another_question(
    server: DisposableValkey, settings: LazySettings, reads: list[Outcome], outages: list[bool]
) -> None:
    items = [Item.plain.create(name=f"item {number}") for number in range(10)]
    expected = {item.pk: item.name for item in items}
    assert [name(pk) for pk in expected for _ in range(2)] == [
        each for each in expected.values() for _ in "ab"
    ]
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_TIMEOUT": 0.02, "CACHE_OUTAGE_WRITES": "bounded"}
    with Stutter(server, still_seconds=0.06):
        for number in range(60):
            pk = items[number % 10].pk
            expected[pk] = f"write {number}"
            Item.plain.filter(pk=pk).update(name=expected[pk])
            assert {each: name(each) for each in expected} == expected
            assert names() == list(expected.values())
    assert True in outages, "it was too slow at least once"
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_TIMEOUT": 5.0}

    def is_cached_again() -> bool:
        assert {each: name(each) for each in expected} == expected
        return {outcome for _, outcome, _ in reads[-len(expected) :]} == {"hit"}

    wait_until(is_cached_again)


def test_it_misses_what_a_small_server_has_thrown_out(
    server: DisposableValkey,
    direct: redis.Redis,
    settings: LazySettings,
    reads: list[Outcome],
    outages: list[bool],
) -> None:
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_MEMORY": "off"}
    items = Item.plain.bulk_create(Item(name=f"item {number} " + "x" * 20) for number in range(800))
    expected = {item.pk: item.name for item in items}
    direct.config_set("maxmemory-policy", "allkeys-lru")
    direct.config_set("maxmemory", int(direct.info("memory")["used_memory"]) + 150_000)
    for turn in range(3):
        assert {pk: name(pk) for pk in expected} == expected
        for pk in list(expected)[turn::97]:
            expected[pk] = f"write {turn} of {pk}"
            Item.plain.filter(pk=pk).update(name=expected[pk])
            assert name(pk) == expected[pk]
        Item.plain.filter(pk=items[turn].pk).update(name="one")
        expected[items[turn].pk] = "one"
        assert [name(pk) for pk in (items[turn].pk, items[-1].pk)] == ["one", expected[items[-1].pk]]
    assert int(direct.info("stats")["evicted_keys"]) > 1000
    assert {outcome for _, outcome, _ in reads} == {"hit", "miss"}
    assert outages == [], "a server that throws out is not down"


class TestMoments:
    """The server goes while a process stands at an exact point, and comes back empty."""

    @pytest.fixture
    def pk(self) -> int:
        item = Item.plain.create(name="old")
        Sample.plain.create(item=item)
        Bundle.plain.create(pk=item.pk).items.add(item)
        return item.pk

    @pytest.fixture
    def begin(self, server: DisposableValkey, start: Callable[..., Process]) -> Callable[[], Process]:
        return lambda: start(redis_url=server.url, CACHE_TIMEOUT=0.5, CACHE_OUTAGE_WRITES="wait")

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("atomic", [False, True])
    @pytest.mark.parametrize("point", ["before mark", "after mark", "before done"])
    def test_it_goes_in_the_middle_of_a_write(
        self,
        pk: int,
        server: DisposableValkey,
        begin: Callable[[], Process],
        point: str,
        atomic: bool,
        kind: str,
    ) -> None:
        writer, reader = begin(), begin()
        reader.call("get", pk, kind)
        assert reader.call("get", pk, kind) == ["old", "hit"]
        writer.call("stop", point)
        writer.start("update", pk, "new", atomic=atomic)
        writer.wait_at(point)
        server.kill()
        server.start()
        expected = "new" if point == "before done" else "old"
        for _ in range(3):  # what is filled now knows nothing of the MARK
            assert reader.call("get", pk, kind)[0] == expected
        writer.go()
        assert writer.answer() == ""
        assert reader.call("get", pk, kind)[0] == "new"
        wait_until(lambda: reader.call("get", pk, kind) == ["new", "hit"])

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("point", ["before read", "after read", "before statement", "before fill"])
    def test_it_goes_in_the_middle_of_a_read(
        self, pk: int, server: DisposableValkey, begin: Callable[[], Process], point: str, kind: str
    ) -> None:
        reader, writer = begin(), begin()
        writer.call("update", pk, "old")
        reader.call("stop", point)
        reader.start("get", pk, kind)
        reader.wait_at(point)
        server.kill()
        server.start()
        assert writer.call("update", pk, "new") == ""
        reader.go()
        assert reader.answer()[0] in {"old", "new"}, "it began before the write"
        for process in (reader, writer):
            assert process.call("get", pk, kind)[0] == "new"
