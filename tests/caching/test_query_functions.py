"""Declared reads: no queryset is built where the answer is cached, and it is that of the queryset."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.conf import LazySettings
from django.contrib.auth.models import Group, User
from django.db import models, transaction
from django.db.models import Count, F, Prefetch
from django.db.models.functions import TruncDate
from django.utils import timezone

from perfkit.caching import cached_query
from tests.caching.conftest import Outcome
from tests.caching.test_queryset import shown
from tests.testapp.models import Booking, Bundle, Item, Sample, Shelf, Volume

pytestmark = pytest.mark.django_db(transaction=True)

calls: list[Any] = []


@pytest.fixture(autouse=True)
def _rows() -> None:
    calls.clear()
    shelf = Shelf.objects.create(name="shelf")
    for number in range(4):
        Item.objects.create(name=f"item {number}", count=number)
        Volume.objects.create(title=f"volume {number}", shelf=shelf)


def outcomes(reads: list[Outcome]) -> list[str]:
    told = [outcome for _, outcome, _ in reads]
    reads.clear()
    return told


def declared(**options: Any) -> Any:
    @cached_query(**options)
    def items(least: int, *, most: int = 99) -> models.QuerySet[Item]:
        calls.append((least, most))
        return Item.plain.filter(count__gte=least, count__lte=most).order_by("id")

    return items


class TestCost:
    def test_it_builds_no_queryset_on_a_hit(self, django_assert_num_queries: Callable[..., Any]) -> None:
        items = declared()
        with django_assert_num_queries(1):
            for _ in range(3):
                assert [item.name for item in items(2)] == ["item 2", "item 3"]
        assert calls == [(2, 99)]

    def test_it_shares_the_answer_with_the_queryset(self, reads: list[Outcome]) -> None:
        items = declared(ttl=600)
        list(Item.objects.filter(count__gte=2, count__lte=99).order_by("id"))
        items(2)
        assert outcomes(reads) == ["miss", "hit"]

    def test_it_calls_the_function_again_after_its_ttl(self, monkeypatch: pytest.MonkeyPatch) -> None:
        items = declared(ttl=60)
        items(2)
        [(key, call)] = items._calls.items()
        items._calls[key] = call._replace(until=0.0)
        items(2)
        assert calls == [(2, 99), (2, 99)]

    def test_it_bounds_what_it_keeps(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("perfkit.caching.query_functions.MOST_CALLS", 3)
        items = declared()
        for least in range(8):
            items(least)
        assert len(items._calls) <= 3

    def test_it_finds_at_once_what_it_has_stored(self, reads: list[Outcome]) -> None:
        @cached_query()
        def volumes() -> models.QuerySet[Volume]:
            return Volume.plain.filter(shelf__name="shelf").select_related("shelf").order_by("shelf__name")

        for _ in range(3):
            volumes()
        assert outcomes(reads) == ["miss", "hit", "hit"]

    def test_it_tells_a_bypass_once_a_call(self, reads: list[Outcome]) -> None:
        @cached_query()
        def groups() -> models.QuerySet[Group]:
            return Group.objects.order_by("id")

        groups()
        groups()
        assert outcomes(reads) == ["bypass", "bypass"]


class TestPromise:
    def test_it_is_never_stale(self, reads: list[Outcome]) -> None:
        items = declared()
        for write in (
            lambda: Item.plain.filter(name="item 2").update(count=50),
            lambda: Item.plain.create(name="new", count=5),
            lambda: Item.plain.get(name="item 3").delete(),
        ):
            items(2)
            write()
            assert shown(items(2)) == shown(list(Item.plain.filter(count__gte=2).order_by("id")))
        with transaction.atomic():
            Item.plain.all().update(count=0)
            assert items(2) == []

    def test_it_never_stores_one_query_under_the_name_of_another(self, reads: list[Outcome]) -> None:
        """A function may depend on more than its arguments, though it must not."""
        least = 2

        @cached_query(ttl=600)
        def items() -> models.QuerySet[Item]:
            return Item.plain.filter(count__gte=least).order_by("id")

        assert len(items()) == 2
        least = 0
        Item.plain.create(name="new", count=9)  # the answer is gone, so the function is called again
        assert len(items()) == 5
        assert [item.count for item in Item.objects.cached(ttl=600).filter(count__gte=2).order_by("id")] == [
            2,
            3,
            9,
        ]
        assert len(items()) == 5

    def test_it_keeps_an_answer_as_long_as_its_manager_says(self, reads: list[Outcome]) -> None:
        @cached_query()
        def items() -> models.QuerySet[Item]:
            return Item.objects.order_by("id")

        items()
        [call] = items._calls.values()
        assert call.ttl_seconds == 600
        list(Item.objects.order_by("id"))
        assert outcomes(reads) == ["miss", "hit"]

    def test_it_hands_out_fresh_copies(self) -> None:
        items = declared()
        items(2)[0].name = "changed"
        assert items(2)[0].name == "item 2"

    def test_it_keeps_to_the_time_zone_of_each_caller(self) -> None:
        Sample.objects.create(moment=dt.datetime(2024, 1, 1, 23, 30, tzinfo=dt.UTC))

        @cached_query()
        def days() -> models.QuerySet[Any, Any]:
            return Sample.objects.annotate(at=TruncDate("moment")).values_list("at", flat=True)

        for _ in range(2):
            with timezone.override("UTC"):
                assert days() == [dt.date(2024, 1, 1)]
            with timezone.override("Asia/Tokyo"):
                assert days() == [dt.date(2024, 1, 2)]

    def test_it_asks_the_routers_each_time(self, settings: LazySettings, reads: list[Outcome]) -> None:
        items = declared()
        items(2)
        settings.DATABASE_ROUTERS = ["tests.caching.test_query_functions.Elsewhere"]
        Elsewhere.alias = "other"
        with pytest.raises(Exception, match="other"):
            items(2)
        Elsewhere.alias = None
        assert len(items(2)) == 2
        assert calls[0] == calls[1]

    def test_it_reads_the_database_where_caching_is_off(
        self, settings: LazySettings, django_assert_num_queries: Callable[..., Any]
    ) -> None:
        items = declared()
        items(2)
        settings.PERFKIT = {**settings.PERFKIT, "CACHE_ENABLED": False}
        with django_assert_num_queries(2):
            assert len(items(2)) == len(items(2)) == 2


class Elsewhere:
    alias: str | None = None

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return self.alias


ARGUMENTS: list[Any] = [
    1,
    True,
    1.0,
    "1",
    Decimal(1),
    Decimal("1.0"),
    0,
    False,
    -0.0,
    0.0,
    None,
    (1,),
    (True,),
]


class TestArguments:
    def test_it_tells_apart_what_is_equal_and_not_the_same(self) -> None:
        @cached_query()
        def items(value: Any) -> models.QuerySet[Item]:
            calls.append(value)
            return Item.plain.order_by("id")[:1]

        for _ in range(2):
            for value in ARGUMENTS:
                items(value)
        assert [repr(value) for value in calls] == [repr(value) for value in ARGUMENTS]

    def test_it_builds_the_queryset_for_what_is_not_plain(self) -> None:
        @cached_query()
        def volumes(shelf: Shelf) -> models.QuerySet[Volume]:
            calls.append(shelf.pk)
            return shelf.volumes.order_by("id")

        shelf = Shelf.objects.get()
        for _ in range(2):
            assert all(volume.shelf is shelf for volume in volumes(shelf)), "as with a related manager"
        assert len(calls) == 2

    def test_it_takes_names_and_defaults(self) -> None:
        items = declared()
        assert items(1, most=2) == items(least=1, most=2) == list(items.queryset(1, most=2))
        assert items(1) == items(1, most=99)

    def test_it_refuses_what_is_no_queryset(self) -> None:
        @cached_query()
        def nothing() -> Any:
            return []

        with pytest.raises(
            TypeError, match=r"nothing is a cached query and must return a queryset, not list\."
        ):
            nothing()

    @pytest.mark.parametrize("ttl", [0, -1, 1.5, "60", True])
    def test_it_refuses_a_ttl_that_is_no_number_of_seconds(self, ttl: Any) -> None:
        with pytest.raises(ValueError, match="whole number of seconds"):
            cached_query(ttl=ttl)

    def test_it_is_the_function_still(self) -> None:
        @cached_query()
        def items(least: int) -> models.QuerySet[Item]:
            """Return items."""
            return Item.plain.filter(count__gte=least)

        assert (items.__name__, items.__doc__) == ("items", "Return items.")
        assert items.queryset(2).count() == 2


QUERYSETS: dict[str, Callable[[], Any]] = {
    "instances": lambda: Item.plain.order_by("id"),
    "cached instances": lambda: Item.objects.order_by("id"),
    "slice": lambda: Item.plain.order_by("-id")[1:3],
    "join": lambda: Volume.plain.select_related("shelf").order_by("id"),
    "prefetch": lambda: Shelf.plain.prefetch_related("volumes").order_by("id"),
    "prefetch object": lambda: Shelf.plain.prefetch_related(
        Prefetch("volumes", Volume.plain.filter(title="volume 1"), to_attr="ones")
    ),
    "annotated": lambda: Shelf.plain.annotate(n=Count("volumes"), name_too=F("name")),
    "deferred": lambda: Item.plain.only("name").order_by("id"),
    "values": lambda: Item.plain.order_by("id").values("name", "count"),
    "values_list": lambda: Item.plain.order_by("id").values_list("id", "name"),
    "flat": lambda: Item.plain.order_by("id").values_list("name", flat=True),
    "named": lambda: Item.plain.order_by("id").values_list("id", "name", named=True),
    "none": Item.plain.none,
    "empty": lambda: Item.plain.filter(pk__in=[]),
    "random": lambda: Item.plain.filter(count=1).order_by("?"),
    "through a relation": lambda: Bundle(pk=1).items.order_by("id"),
    "evaluated": lambda: evaluated(Item.plain.order_by("id")),
    "not tracked": lambda: Group.objects.order_by("id"),
    "by a declared column": lambda: Booking.plain.filter(zone="north"),
}


def evaluated(queryset: Any) -> Any:
    len(queryset)
    return queryset


@pytest.mark.parametrize("name", QUERYSETS)
def test_it_gives_what_the_queryset_gives(name: str) -> None:
    make = QUERYSETS[name]
    function = cached_query()(make)
    for _ in range(3):
        assert shown(function()) == shown(list(make()))


def test_it_reads_models_that_one_does_not_own(settings: LazySettings, reads: list[Outcome]) -> None:
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_MODELS": ["auth.User"]}
    User.objects.create_user("ann", is_staff=True)

    @cached_query()
    def staff() -> models.QuerySet[User]:
        return User.objects.filter(is_staff=True).order_by("username")

    assert [user.username for user in [*staff(), *staff()]] == ["ann", "ann"]
    assert outcomes(reads) == ["miss", "hit"]
    User.objects.create_user("bob", is_staff=True)
    assert [user.username for user in staff()] == ["ann", "bob"]


def test_it_reads_for_coroutines_too() -> None:
    items = declared()
    assert async_to_sync(items.acall)(2) == items(2)
