"""Invalidations that wait in the database for a server that could not be told."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, connections, transaction

from perfkit.caching import coherence
from perfkit.caching.outbox import LookUnderWayError, Outbox, OutboxMissingError
from perfkit.caching.silence import Silence
from perfkit.caching.store import StoreError
from perfkit.caching.store.local import LocalStore
from perfkit.models import PendingInvalidation
from tests.caching.conftest import Outcome, forget_everything
from tests.testapp.models import Item

pytestmark = pytest.mark.django_db(transaction=True)


class Recorder(LocalStore):
    def __init__(self) -> None:
        super().__init__()
        self.told: list[list[str]] = []
        self.is_down = False

    def void(self, tags: Any, *, writers: Any = ()) -> None:
        if self.is_down:
            raise StoreError("down")
        self.told.append(list(tags))


class Bench:
    def __init__(self) -> None:
        self.now = 100.0
        self.silence = Silence(clock=lambda: self.now)
        self.outbox = Outbox(self.silence, clock=lambda: self.now)
        self.store = Recorder()

    def look(self, *, in_transaction: bool = False) -> list[list[str]]:
        self.store.told.clear()
        self.outbox.drain(connection, self.store, in_transaction=in_transaction)
        return list(self.store.told)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_it_tells_and_forgets_what_waits(bench: Bench) -> None:
    bench.outbox.put(connection, ["r:2", "r:1"], writer="0a")
    bench.outbox.put(connection, ["r:1", "b:1"], writer="0a")
    assert bench.look() == [["b:1", "r:1", "r:2"]]
    assert not PendingInvalidation.objects.exists()


def test_it_looks_once_a_second(bench: Bench, django_assert_num_queries: Any) -> None:
    assert bench.look() == []
    bench.outbox.put(connection, ["r:1"], writer="0a")
    bench.now += 0.99
    assert bench.look() == []
    bench.now += 0.01
    assert bench.look() == [["r:1"]]


def test_it_looks_at_once_where_this_process_has_put_something(bench: Bench) -> None:
    bench.look()
    bench.outbox.put(connection, ["r:1"], writer="0a")
    bench.outbox.look_again("default")
    assert bench.look() == [["r:1"]]


def test_it_does_not_show_in_the_projects_query_counts(bench: Bench, django_assert_num_queries: Any) -> None:
    bench.outbox.put(connection, ["r:1"], writer="0a")
    with django_assert_num_queries(0):
        assert bench.look() == [["r:1"]]


def test_it_keeps_what_the_server_did_not_take(bench: Bench) -> None:
    bench.outbox.put(connection, ["r:1"], writer="0a")
    bench.store.is_down = True
    for _ in range(2):
        with pytest.raises(StoreError):
            bench.look()
    bench.store.is_down = False
    assert bench.look() == [["r:1"]], "it looks again at once"


def test_it_leaves_the_rows_to_a_look_outside_a_transaction(bench: Bench) -> None:
    bench.outbox.put(connection, ["r:1"], writer="0a")
    with transaction.atomic():
        assert bench.look(in_transaction=True) == [["r:1"]]
    assert PendingInvalidation.objects.exists()
    bench.now += 1
    assert bench.look() == [["r:1"]]
    assert not PendingInvalidation.objects.exists()


def test_it_tells_of_nothing_that_was_rolled_back(bench: Bench) -> None:
    with transaction.atomic():
        bench.outbox.put(connection, ["r:1"], writer="0a")
        transaction.set_rollback(True)
    assert bench.look() == []


def test_it_tells_of_very_many_in_bearable_pieces(bench: Bench) -> None:
    rows = [
        PendingInvalidation(tags=json.dumps([f"r:{row}:{number}" for number in range(10)]))
        for row in range(1200)
    ]
    PendingInvalidation.objects.bulk_create(rows)
    told = bench.look()
    assert sum(map(len, told)) == 12_000
    assert max(map(len, told)) <= 1000
    assert not PendingInvalidation.objects.exists()


def test_it_says_where_its_table_is_missing(bench: Bench) -> None:
    with without_table():
        for act in (bench.look, lambda: bench.outbox.put(connection, ["r:1"], writer="0a")):
            with pytest.raises(OutboxMissingError, match=r"manage\.py migrate --database default"):
                act()
    assert bench.look() == []


class without_table:  # noqa: N801  # reads as a phrase
    def __init__(self, last: str = "zero") -> None:
        self.last = last

    def __enter__(self) -> None:
        forget_everything()
        call_command("migrate", "perfkit", self.last, verbosity=0)

    def __exit__(self, *error: object) -> None:
        call_command("migrate", "perfkit", verbosity=0)


@pytest.mark.redis
@pytest.mark.postgres
class TestMigrating:
    @pytest.mark.parametrize("last", ["zero", "0001"])
    def test_it_goes_on_without_it_during_an_outage(self, settings: Any, last: str) -> None:
        settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": "redis://127.0.0.1:1/0"}}
        item = Item.plain.create(name="old")
        with without_table(last):
            Item.plain.filter(pk=item.pk).update(name="new")
            with transaction.atomic():
                Item.plain.filter(pk=item.pk).update(count=5)
            assert Item.objects.get(pk=item.pk).count == 5

    def test_it_bypasses_the_cache_until_the_table_is_made(
        self, reads: list[Outcome], caplog: pytest.LogCaptureFixture
    ) -> None:
        item = Item.plain.create(name="old")
        with without_table():
            for value in ("one", "two"):
                Item.plain.filter(pk=item.pk).update(name=value)
                with transaction.atomic():
                    assert Item.objects.get(pk=item.pk).name == value
        assert set(reads) == {("Item", "bypass", "outbox missing")}
        assert len([line for line in caplog.messages if "manage.py migrate" in line]) <= 1
        assert Item.objects.get(pk=item.pk).name == "two"

    def test_it_lets_a_project_migrate_while_the_cache_server_is_down(self, settings: Any) -> None:
        settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": "redis://127.0.0.1:1/0"}}
        item = Item.plain.create(name="old")
        with without_table():
            Item.plain.filter(pk=item.pk).update(name="new")
            with transaction.atomic():
                Item.plain.filter(pk=item.pk).update(name="newer")
        assert Item.objects.get(pk=item.pk).name == "newer"


def test_it_lets_nobody_trust_the_cache_while_another_thread_looks(bench: Bench) -> None:
    """What that thread has found is not told yet."""
    bench.outbox.put(connection, ["r:1"], writer="0a")
    found, go = threading.Event(), threading.Event()

    class Slow(Recorder):
        def void(self, tags: Any, *, writers: Any = ()) -> None:
            found.set()
            go.wait(timeout=20)
            super().void(tags, writers=writers)

    slow = Slow()

    def look() -> None:
        try:
            bench.outbox.drain(connections["default"], slow, in_transaction=False)
        finally:
            connections.close_all()

    thread = threading.Thread(target=look)
    thread.start()
    assert found.wait(timeout=20)
    with pytest.raises(LookUnderWayError):
        bench.look()
    go.set()
    thread.join()
    assert slow.told == [["r:1"]]
    assert bench.look() == []


class EndingLooks(set[str]):
    """Looks under way, of which one fails in the moment in which it is asked for."""

    def __init__(self, outbox: Outbox) -> None:
        super().__init__()
        self._outbox = outbox

    def __contains__(self, alias: object) -> bool:
        self._outbox.look_again(str(alias))
        return False


def test_it_looks_where_the_look_of_another_thread_has_just_failed(bench: Bench) -> None:
    bench.look()
    bench.outbox.put(connection, ["r:1"], writer="0a")
    bench.outbox._looking = EndingLooks(bench.outbox)
    assert bench.look() == [["r:1"]]


@pytest.mark.redis
def test_it_makes_a_read_go_to_the_database_while_another_thread_looks(reads: list[Outcome]) -> None:
    item = Item.plain.create(name="old")
    Item.objects.get(pk=item.pk)
    coherence.outbox._looking.add("default")
    Item.objects.get(pk=item.pk)
    coherence.outbox._looking.discard("default")
    Item.objects.get(pk=item.pk)
    assert [outcome for _, outcome, _ in reads] == ["miss", "bypass", "hit"]
