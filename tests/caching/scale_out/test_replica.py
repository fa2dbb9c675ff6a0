"""A read replica behind a router: what comes from it is never kept, and what is kept never comes from it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import connections, transaction
from django.db.models import Max, Model

from tests.caching.conftest import Outcome
from tests.plugins.standby import ALIAS, Standby
from tests.testapp.models import Booking, Bundle, Item, Sample

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres, pytest.mark.redis]

ROUTER = f"{__name__}.ReplicaRouter"

READS: dict[str, Callable[[int, str], str]] = {
    "get": lambda pk, using: Item.objects.using(using).get(pk=pk).name,
    "list": lambda pk, using: list(Item.objects.using(using).filter(id__in=[pk], count__gte=0)).pop().name,
    "joined list": lambda pk, using: (
        list(Sample.objects.using(using).filter(item=pk).select_related("item")).pop().item.name
    ),
    "many to many": lambda pk, using: list(Bundle(pk=pk).items.using(using).all()).pop().name,
    "values": lambda pk, using: Item.objects.using(using).filter(id=pk).values_list("name", flat=True)[0],
    "aggregate": lambda pk, using: (
        Item.objects.using(using).filter(id=pk).aggregate(name=Max("name"))["name"]
    ),
}


class ReplicaRouter:
    """Reads go to the replica, as in most projects that have one."""

    def db_for_read(self, model: type[Model], **hints: Any) -> str:
        return ALIAS

    def db_for_write(self, model: type[Model], **hints: Any) -> str:
        return "default"

    def allow_relation(self, one: Model, other: Model, **hints: Any) -> bool:
        return True


@pytest.fixture
def routed(standby: Standby, settings: LazySettings) -> Standby:
    settings.DATABASE_ROUTERS = [ROUTER]
    return standby


@pytest.fixture
def pk(routed: Standby) -> Iterator[int]:
    item = Item.plain.create(name="old")
    Sample.plain.create(item=item)
    Bundle.plain.create(pk=item.pk).items.add(item)
    routed.catch_up()
    return item.pk


def primary(kind: str, pk: int) -> str:
    return READS[kind](pk, "default")


def replica(kind: str, pk: int) -> str:
    return READS[kind](pk, ALIAS)


@pytest.mark.parametrize("kind", READS)
def test_what_an_old_replica_says_is_neither_kept_nor_hidden(
    kind: str, pk: int, routed: Standby, reads: list[Outcome]
) -> None:
    for _ in range(2):
        assert replica(kind, pk) == "old"
    assert {outcome[1:] for outcome in reads} == {("bypass", "replica")}
    routed.pause()
    for number in range(3):
        name = f"write {number}"
        if number % 2:
            Item.plain.filter(pk=pk).update(name=name)
        else:
            with transaction.atomic():
                item = Item.plain.using("default").get(pk=pk)
                item.name = name
                item.save()
        assert replica(kind, pk) == "old", "it has stood still"
        reads.clear()
        assert [primary(kind, pk) for _ in range(2)] == [name, name]
        assert [outcome for _, outcome, _ in reads][-1] == "hit"
        assert replica(kind, pk) == "old"
        assert primary(kind, pk) == name
    routed.resume()
    routed.catch_up()
    assert replica(kind, pk) == name


def test_reads_go_where_the_router_sends_them(pk: int, reads: list[Outcome]) -> None:
    assert Item.objects.get(pk=pk)._state.db == ALIAS
    assert Item.objects.filter(name="old")[0]._state.db == ALIAS
    assert {outcome[1:] for outcome in reads} == {("bypass", "replica")}


def test_a_model_whose_reads_stay_on_the_primary_is_cached(
    pk: int, routed: Standby, reads: list[Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ReplicaRouter, "db_for_read", lambda self, model, **hints: "default")
    routed.pause()
    Item.objects.get(pk=pk)
    Item.plain.filter(pk=pk).update(name="new")
    assert [Item.objects.get(pk=pk).name for _ in range(2)] == ["new", "new"]
    assert reads[-1] == ("Item", "hit", "")


class Readers:
    """Threads that read from both, and compare what the primary's cache says with what is committed."""

    def __init__(self, pk: int) -> None:
        self.pk = pk
        self.committed = 0
        self.reads = 0
        self.stale: list[tuple[int, int]] = []
        self.ended = threading.Event()

    def read_replica(self) -> None:
        while not self.ended.is_set():
            self.seen(ALIAS)
        connections.close_all()

    def read_primary(self) -> None:
        while not self.ended.is_set():
            floor = self.committed
            self.stale += [(seen, floor) for seen in self.seen("default") if seen < floor]
            self.reads += 1
        connections.close_all()

    def seen(self, using: str) -> list[int]:
        rows = Item.objects.using(using)
        return [rows.get(pk=self.pk).count, *(row.count for row in rows.filter(pk=self.pk, count__gte=0))]


def test_readers_of_both_beside_a_writer_are_never_shown_what_is_old(pk: int, routed: Standby) -> None:
    """The replica lags by what it likes; readers of the primary do not notice."""
    readers = Readers(pk)
    acts = (readers.read_replica, readers.read_replica, readers.read_primary, readers.read_primary)
    with ThreadPoolExecutor(len(acts)) as threads:
        futures = [threads.submit(act) for act in acts]
        for number in range(1, 21):
            if number % 5 == 0:
                routed.pause() if number % 2 else routed.resume()
            Item.plain.filter(pk=pk).update(count=number)
            readers.committed = number
            readers.ended.wait(0.1)
        readers.ended.set()
        for future in futures:
            future.result()
    assert readers.stale == []
    assert readers.reads > 50


def test_rows_of_the_replica_do_not_answer_for_relations_of_the_primary(pk: int, routed: Standby) -> None:
    routed.pause()
    Item.plain.filter(pk=pk).update(name="new")
    Booking.plain.create(pk=pk + 1, zone="north")
    for _ in range(2):
        assert Sample.objects.using("default").select_related("item").get(item=pk).item.name == "new"
        assert Sample.objects.using(ALIAS).select_related("item").get(item=pk).item.name == "old"
        assert Booking.objects.using("default").filter(zone="north").exists()
        assert not Booking.objects.using(ALIAS).filter(zone="north").exists()
