"""Lists of cached querysets and cached queries."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import Count

from perfkit.caching import Answer, WarmResult
from perfkit.caching.databases import tag_scope
from perfkit.caching.store import current_store
from perfkit.caching.tags import any_write_tag
from perfkit.caching.warming import answer_batches
from tests.caching.conftest import Outcome
from tests.caching.warming.conftest import outcomes
from tests.caching.warming.functions import from_count, ran
from tests.testapp.models import Airfield, Booking, Bundle, Item, ItemNote, Shelf, Volume

pytestmark = pytest.mark.django_db(transaction=True)

Warmed = Callable[..., WarmResult]

QUERYSETS: dict[str, Callable[[], Any]] = {
    "all": Item.objects.all,
    "filtered and cut": lambda: Item.objects.filter(count__gt=3).order_by("-name")[:5],
    "values": lambda: Item.objects.values_list("name", flat=True).order_by("pk"),
    "annotated": lambda: Item.objects.values("name").annotate(times=Count("pk")).order_by("name"),
    "joined": lambda: Volume.objects.select_related("shelf").order_by("pk"),
    "without rows": lambda: Item.objects.filter(count=-1),
    "by a declared column": lambda: Booking.objects.filter(zone="north").order_by("pk"),
}


@pytest.fixture(autouse=True)
def _rows(few: list[Item]) -> None:
    ran.clear()
    shelf = Shelf.plain.create(name="shelf")
    Volume.plain.create(title="volume", shelf=shelf)
    Booking.plain.create(name="booking", zone="north")


@pytest.mark.parametrize("kind", QUERYSETS)
@pytest.mark.parametrize("jobs", [1, 2])
def test_its_list_is_a_hit_and_equal_to_djangos(
    warmed: Warmed, kind: str, jobs: int, reads: list[Outcome], django_assert_num_queries: Any
) -> None:
    queryset = QUERYSETS[kind]
    result = warmed(lambda: Answer(queryset()), jobs=jobs)
    assert (result.wanted, result.entries, result.error) == (1, 1, "")
    outcomes(reads)
    with django_assert_num_queries(0):
        found = list(queryset())
    assert outcomes(reads) == ["hit"]
    assert found == list(queryset().uncached())
    again = warmed(lambda: Answer(queryset()), jobs=jobs)
    assert (again.entries, again.held) == (0, 1)


def test_it_is_the_list_and_not_the_rows(warmed: Warmed, reads: list[Outcome]) -> None:
    item = Item.plain.first()
    assert item is not None
    warmed(lambda: Answer(Item.objects.all()))
    outcomes(reads)
    Item.objects.get(pk=item.pk)
    assert outcomes(reads) == ["miss"]


def test_it_makes_a_list_anew_that_was_written(warmed: Warmed) -> None:
    def wanted() -> Any:
        return [Answer(Item.objects.all()), Answer(Shelf.objects.all())]

    warmed(wanted)
    Item.plain.create(name="late", count=1)
    again = warmed(wanted)
    assert (again.entries, again.held) == (1, 1)
    assert len(Item.objects.all()) == 26


def test_it_makes_lists_anew_where_that_is_asked_for(warmed: Warmed) -> None:
    assert [warmed(lambda: Answer(Item.objects.all()), force=True).entries for _ in range(2)] == [1, 1]


def test_it_warms_any_queryset_as_one_that_is_cached(warmed: Warmed, reads: list[Outcome]) -> None:
    assert warmed(lambda: Answer(Item.plain.filter(count=2))).entries == 1
    outcomes(reads)
    assert len(Item.objects.filter(count=2)) == 1


def test_it_warms_cached_queries(warmed: Warmed, reads: list[Outcome]) -> None:
    result = warmed(lambda: (partial(from_count, least) for least in range(13)))
    assert (result.wanted, result.entries, result.error) == (13, 13, "")
    ran.clear()
    outcomes(reads)
    assert [len(from_count(least)) for least in range(13)] == [25 - least for least in range(13)]
    assert outcomes(reads) == ["hit"] * 13


def test_it_warms_what_a_list_prefetches(
    warmed: Warmed, reads: list[Outcome], django_assert_num_queries: Any
) -> None:
    def shelves() -> Any:
        return Shelf.objects.prefetch_related("volumes")

    warmed(lambda: Answer(shelves()))
    with django_assert_num_queries(0):
        [shelf] = shelves()
        assert [volume.title for volume in shelf.volumes.all()] == ["volume"]


def test_it_takes_what_can_have_no_rows_for_done(warmed: Warmed, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        result = warmed(lambda: [Answer(Item.objects.none()), Answer(Item.objects.filter(pk__in=[]))])
    assert (result.entries, result.held, result.error) == (0, 2, "")


@pytest.mark.parametrize(
    ("queryset", "reason"),
    [
        (lambda: Item.objects.order_by("?"), "random order"),
        (ItemNote.objects.all, "testapp_itemnote"),
        (Item.objects.select_for_update, "select_for_update"),
    ],
)
def test_it_says_why_a_list_cannot_be_kept(warmed: Warmed, queryset: Any, reason: str) -> None:
    result = warmed(lambda: [Answer(queryset()), Answer(Item.objects.all())])
    assert (result.entries, result.errors) == (1, 1)
    assert " cannot be kept: " in result.error
    assert reason in result.error


def test_it_says_which_list_is_too_large(warmed: Warmed) -> None:
    Bundle.plain.create(
        title="large", extra={str(number): f"{number * 7919:x}" * 9 for number in range(90_000)}
    )
    result = warmed(lambda: Answer(Bundle.objects.all()))
    assert (result.entries, result.errors) == (0, 1)
    assert result.error == "an answer about testapp.Bundle cannot be kept: size"


def test_it_leaves_out_what_is_being_written(warmed: Warmed) -> None:
    store = current_store()
    assert store is not None
    tags = [any_write_tag(tag_scope(connection), "testapp_item")]
    store.mark(tags, writer="0a")
    result = warmed(lambda: [Answer(Item.objects.all()), Answer(Shelf.objects.all())])
    assert (result.entries, result.left_out, result.error) == (1, 1, "")
    store.done(tags, writer="0a")
    assert warmed(lambda: Answer(Item.objects.all())).entries == 1


def test_it_fills_nothing_that_was_written_meanwhile(warmed: Warmed, monkeypatch: pytest.MonkeyPatch) -> None:
    fill = answer_batches.fill

    def write_and_fill(*args: Any, **kwargs: Any) -> Any:
        Airfield.plain.update(name="new")
        return fill(*args, **kwargs)

    Airfield.plain.create(code="JFK", name="old")
    monkeypatch.setattr(answer_batches, "fill", write_and_fill)
    warmed(lambda: Answer(Airfield.objects.all()))
    assert [airfield.name for airfield in Airfield.objects.all()] == ["new"]


def test_it_stores_nothing_that_may_yet_be_rolled_back(warmed: Warmed) -> None:
    with transaction.atomic():
        Item.plain.update(name="never")
        result = warmed(lambda: Answer(Item.objects.all()))
        assert (result.entries, result.errors) == (0, 1)
        transaction.set_rollback(True)
    assert {item.name for item in Item.objects.all()} == {f"item {number}" for number in range(25)}
