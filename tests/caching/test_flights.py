"""Of many that miss the same slow answer together, one computes it; if that one dies, another takes over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, connections, transaction

from perfkit.caching.flights import LEASE_TIMES, SLOW_SECONDS, UNKNOWN_LEASE_SECONDS, Durations, pauses
from perfkit.caching.store import current_store
from perfkit.signals import cache_read
from tests.caching.conftest import Outcome
from tests.caching.processes import Process
from tests.testapp.models import Bundle, Item, Sample

on_servers = [pytest.mark.django_db(transaction=True), pytest.mark.postgres, pytest.mark.redis]
KINDS = ("get", "list", "aggregate")


class TestDurations:
    def test_it_takes_what_it_does_not_know_for_slow(self) -> None:
        durations = Durations()
        assert durations.needs_flight("a")
        assert durations.lease_seconds("a") == UNKNOWN_LEASE_SECONDS

    def test_it_lets_everybody_compute_what_is_quick(self) -> None:
        durations = Durations()
        durations.took("a", SLOW_SECONDS / 10)
        assert not durations.needs_flight("a")
        for _ in range(20):
            durations.took("a", 1.0)
        assert durations.needs_flight("a")

    def test_it_leases_for_a_few_times_as_long_as_usual(self) -> None:
        durations = Durations()
        durations.took("a", 1.0)
        assert durations.lease_seconds("a") == LEASE_TIMES
        durations.took("b", 0.02)
        assert durations.lease_seconds("b") == 0.2
        durations.took("c", 100.0)
        assert durations.lease_seconds("c") == 30.0


def test_it_looks_again_and_again_until_the_time_is_over() -> None:
    started = time.monotonic()
    looks = sum(1 for _ in pauses(0.1))
    assert time.monotonic() - started >= 0.1
    assert 2 < looks < 60


class TestProcesses:
    pytestmark = on_servers

    @pytest.fixture
    def pk(self) -> int:
        item = Item.plain.create(name="old")
        Sample.plain.create(item=item)
        Bundle.plain.create(pk=item.pk).items.add(item)
        return item.pk

    @pytest.mark.parametrize("kind", KINDS)
    def test_it_computes_once_for_all(self, pk: int, kind: str, start: Callable[..., Process]) -> None:
        first, *others = (start(flight_seconds=30) for _ in range(4))
        first.call("stop", "before statement")
        first.start("get", pk, kind)
        first.wait_at("before statement")
        for other in others:
            other.start("get", pk, kind)
        assert [other.told_within(0.1) for other in others] == [None] * 3
        first.go()
        assert first.answer() == ["old", "miss"]
        assert [other.answer() for other in others] == [["old", "hit"]] * 3

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("point", ["before statement", "before fill"])
    def test_it_goes_on_where_the_one_who_computes_dies(
        self, pk: int, kind: str, point: str, start: Callable[..., Process]
    ) -> None:
        first, *others = (start() for _ in range(3))
        first.call("stop", point)
        first.start("get", pk, kind)
        first.wait_at(point)
        for other in others:
            other.start("get", pk, kind)
        first.kill()
        answers = [other.answer() for other in others]
        assert [value for value, _ in answers] == ["old", "old"]
        assert sorted(outcome for _, outcome in answers) == ["hit", "miss"]

    def test_it_takes_what_the_one_who_dies_has_filled(self, pk: int, start: Callable[..., Process]) -> None:
        first, other = start(), start()
        first.call("stop", "after fill")
        first.start("get", pk)
        first.wait_at("after fill")
        other.start("get", pk)
        first.kill()
        assert other.answer() == ["old", "hit"]

    def test_it_waits_for_nobody_whose_answer_a_write_has_made_old(
        self, pk: int, start: Callable[..., Process]
    ) -> None:
        first, writer = start(), start()
        first.call("stop", "before fill")
        first.start("get", pk, "list")
        first.wait_at("before fill")
        writer.call("update", pk, "new")
        writer.start("get", pk, "list")
        assert not writer.is_silent(UNKNOWN_LEASE_SECONDS / 2)
        assert writer.answer() == ["new", "miss"]
        first.go()
        assert first.answer() == ["old", "miss"]
        assert first.call("get", pk, "list")[0] == "new"

    def test_it_does_not_wait_inside_a_transaction(self, pk: int, start: Callable[..., Process]) -> None:
        """The one who computes may be waiting for this one's locks."""
        first, other = start(), start()
        first.call("stop", "before statement")
        first.start("get", pk, "list")
        first.wait_at("before statement")
        other.call("execute", "BEGIN")
        other.start("get", pk, "list")
        assert not other.is_silent(UNKNOWN_LEASE_SECONDS / 2)
        assert other.answer() == ["old", "miss"]
        first.go()
        assert first.answer() == ["old", "miss"]


class TestThreads:
    pytestmark = pytest.mark.django_db(transaction=True)

    def test_it_computes_once_for_all(self) -> None:
        Item.plain.create(name="x", count=1)
        outcomes: list[str] = []
        queries: list[str] = []
        barrier = threading.Barrier(6)

        def listen(outcome: str, **_: Any) -> None:
            outcomes.append(outcome)

        def slowly(execute: Any, sql: str, *args: Any) -> Any:
            queries.append(sql)
            time.sleep(0.2)
            return execute(sql, *args)

        def read() -> None:
            barrier.wait()
            with connection.execute_wrapper(slowly):
                assert [item.name for item in Item.objects.filter(count=1)] == ["x"]
            connections.close_all()

        threads = [threading.Thread(target=read) for _ in range(6)]
        cache_read.connect(listen)
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            cache_read.disconnect(listen)
        assert len(queries) == 1
        assert sorted(outcomes) == ["hit"] * 5 + ["miss"]

    def test_it_lets_others_go_on_where_the_query_fails(self, reads: list[Outcome]) -> None:
        def fail(*_: Any) -> None:
            raise RuntimeError

        Item.plain.create(name="x")
        for _ in range(2):
            started = time.monotonic()
            with connection.execute_wrapper(fail), pytest.raises(RuntimeError):
                list(Item.objects.filter(name="x"))
            assert time.monotonic() - started < UNKNOWN_LEASE_SECONDS / 2
        assert len(list(Item.objects.filter(name="x"))) == 1

    def test_it_takes_no_lease_inside_a_transaction(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(type(current_store()), "lease", pytest.fail)
        with transaction.atomic():
            list(Item.objects.filter(name="x"))
