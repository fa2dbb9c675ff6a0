"""Whatever is asked of a cached queryset, the answer is that of a plain one, before and after any write."""

from __future__ import annotations

import datetime as dt
import io
import json
from collections.abc import Callable
from decimal import Decimal
from operator import attrgetter
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core import serializers
from django.core.management import call_command
from django.db import connection, models, transaction
from django.db.models import (
    Avg,
    Case,
    Count,
    Exists,
    F,
    Max,
    Min,
    OuterRef,
    Prefetch,
    Q,
    Subquery,
    Sum,
    Value,
    When,
    Window,
)
from django.db.models.expressions import RawSQL
from django.db.models.functions import Coalesce, Now, Rank, TruncMonth, Upper

from perfkit.bulk import bulk_insert, bulk_update, bulk_upsert
from perfkit.caching import CachedManager, CachedQuerySet
from tests.caching.conftest import Outcome
from tests.hydration.comparison import models_initialised
from tests.testapp.models import Bundle, Item, ItemNote, Loan, Page, ProxyItem, Shelf, Tower, Volume

pytestmark = pytest.mark.django_db(transaction=True)

MOMENT = dt.datetime(2024, 2, 29, 12, 30, 1, 5, tzinfo=dt.UTC)

Read = Callable[[str], Any]


def managers(name: str) -> Callable[[Any], Any]:
    """Return what gives a model's manager: the cached one or the plain one."""
    return lambda model: getattr(model, name)


def shown(value: Any, above: tuple[int, ...] = ()) -> Any:
    """Return an answer as plain values, types included; instances as all that they hold, each once on a path."""
    if isinstance(value, models.Model):
        if id(value) in above:
            return (type(value), value.pk)
        path = (*above, id(value))
        state = {**vars(value._state), "fields_cache": shown(dict(value._state.fields_cache), path)}
        fetched = vars(value).get("_prefetched_objects_cache", {})
        held = [
            (name, shown(each, path))
            for name, each in vars(value).items()
            if name != "_state" and each is not fetched
        ]
        return (type(value), state, held, shown({name: list(rows) for name, rows in fetched.items()}, path))
    if isinstance(value, dict):
        return {key: shown(each, above) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return (type(value), [shown(each, above) for each in value])
    return (type(value), value)


async def gathered(queryset: Any) -> list[Any]:
    return [each async for each in queryset]


READS: dict[str, Callable[[Callable[[Any], Any]], Any]] = {
    "all": lambda of: list(of(Item).order_by("id")),
    "filter": lambda of: list(of(Item).filter(count__gte=2).order_by("id")),
    "exclude": lambda of: list(of(Item).exclude(name="two").order_by("-id")),
    "q": lambda of: list(of(Item).filter(Q(name="one") | ~Q(count=3)).order_by("id")),
    "in": lambda of: list(of(Item).filter(name__in=["one", "three"]).order_by("id")),
    "nothing": lambda of: list(of(Item).filter(name="nobody")),
    "none": lambda of: list(of(Item).none()),
    "empty in": lambda of: list(of(Item).filter(pk__in=[])),
    "slice": lambda of: list(of(Item).order_by("name")[1:3]),
    "index": lambda of: of(Item).order_by("name")[1],
    "first": lambda of: of(Item).order_by("name").first(),
    "last": lambda of: of(Item).order_by("name").last(),
    "latest": lambda of: of(Item).latest("id"),
    "get": lambda of: of(Item).get(name="one"),
    "get through all": lambda of: of(Item).all().get(count=2),
    "count": lambda of: of(Item).filter(count__gt=1).count(),
    "exists": lambda of: of(Item).filter(name="one").exists(),
    "does not exist": lambda of: of(Item).filter(name="nobody").exists(),
    "len": lambda of: len(of(Item).all()),
    "in_bulk": lambda of: dict(sorted(of(Item).in_bulk().items())),
    "aggregate": lambda of: of(Item).aggregate(
        Sum("count"), most=Max("count"), mean=Avg("count"), name=Min("name")
    ),
    "aggregate of nothing": lambda of: of(Item).filter(name="nobody").aggregate(Sum("count")),
    "aggregate of decimals": lambda of: of(Bundle).aggregate(Sum("price"), last=Max("made")),
    "annotate": lambda of: list(of(Item).annotate(n=Count("bundles")).order_by("id")),
    "annotate expressions": lambda of: list(
        of(Item).annotate(double=F("count") * 2, big=Upper("name"), one=Value("x")).order_by("id")
    ),
    "case": lambda of: list(
        of(Item)
        .annotate(kind=Case(When(count__gt=1, then=Value("many")), default=Value("few")))
        .order_by("id")
    ),
    "coalesce": lambda of: list(
        of(Bundle).annotate(paid=Coalesce("price", Value(Decimal(0)))).order_by("id")
    ),
    "values": lambda of: list(of(Item).order_by("id").values("name", "count")),
    "values of all": lambda of: list(of(Bundle).order_by("id").values()),
    "values_list": lambda of: list(of(Item).order_by("id").values_list("id", "name")),
    "flat": lambda of: list(of(Item).order_by("id").values_list("name", flat=True)),
    "named": lambda of: [tuple(row) for row in of(Item).order_by("id").values_list("id", "name", named=True)],
    "grouped": lambda of: list(of(Bundle).values("title").annotate(n=Count("items")).order_by("title")),
    "distinct": lambda of: list(of(Item).order_by("count").values_list("count", flat=True).distinct()),
    "only": lambda of: list(of(Item).only("name").order_by("id")),
    "defer": lambda of: list(of(Item).defer("name").order_by("id")),
    "json and dates": lambda of: list(of(Bundle).all()),
    "lookup in json": lambda of: list(of(Bundle).filter(extra__a=1)),
    "month": lambda of: list(of(Bundle).filter(made__month=2).annotate(m=TruncMonth("made"))),
    "datetimes": lambda of: list(of(Bundle).datetimes("made", "day")),
    "joined": lambda of: list(of(Volume).select_related("shelf").order_by("id")),
    "joined by filter": lambda of: list(of(Volume).filter(shelf__name="high").order_by("id")),
    "joined twice": lambda of: list(of(Loan).select_related("volume__shelf").order_by("id")),
    "ordered by another table": lambda of: list(of(Volume).order_by("shelf__name", "-id")),
    "across many to many": lambda of: list(of(Bundle).filter(items__name="one")),
    "exclude across many": lambda of: list(of(Bundle).exclude(items__name="three")),
    "in a subquery": lambda of: list(
        of(Item).filter(bundles__in=of(Bundle).filter(title="a")).order_by("id")
    ),
    "exists in a filter": lambda of: list(
        of(Item).filter(Exists(of(Bundle).filter(items=OuterRef("pk")))).order_by("id")
    ),
    "subquery": lambda of: list(
        of(Shelf)
        .annotate(
            newest=Subquery(of(Volume).filter(shelf=OuterRef("pk")).order_by("-id").values("title")[:1])
        )
        .order_by("id")
    ),
    "window": lambda of: list(of(Item).annotate(r=Window(Rank(), order_by=F("count").desc())).order_by("id")),
    "union": lambda of: list(of(Item).filter(name="one").union(of(Item).filter(name="two")).order_by("name")),
    "prefetch": lambda of: list(of(Shelf).prefetch_related("volumes__loans").order_by("id")),
    "prefetch many to many": lambda of: list(of(Bundle).prefetch_related("items")),
    "prefetch chosen": lambda of: list(
        of(Shelf)
        .prefetch_related(Prefetch("volumes", of(Volume).filter(title__startswith="A"), to_attr="a"))
        .order_by("id")
    ),
    "reverse relation": lambda of: list(of(Shelf).get(name="high").volumes.order_by("id")),
    "many to many": lambda of: list(of(Bundle).get(title="a").items.order_by("id")),
    "many to many, reverse": lambda of: list(of(Item).get(name="one").bundles.all()),
    "proxy": lambda of: list(of(ProxyItem).order_by("id")),
    "child table": lambda of: list(of(Tower).filter(height__gte=1).order_by("id")),
    "iterator": lambda of: list(of(Item).order_by("id").iterator()),
    "async": lambda of: async_to_sync(gathered)(of(Item).order_by("id")),
    "contains": lambda of: of(Item).contains(Item.plain.order_by("id").first()),
    "explicit using": lambda of: list(of(Item).using("default").order_by("id")),
}


def plain(model: Any) -> Any:
    return models.QuerySet(model)


def cached(model: Any) -> Any:
    return model.objects


@pytest.fixture(autouse=True)
def _rows() -> None:
    one, two, three = (
        Item.plain.create(name=name, count=n) for n, name in enumerate(["one", "two", "three"], 1)
    )
    first = Bundle.plain.create(
        title="a", made=MOMENT, price=Decimal("1.50"), extra={"a": 1, "b": [None, "x"]}
    )
    first.items.add(one, two)
    Bundle.plain.create(title="b").items.add(two, three)
    high, low = (Shelf.plain.create(name=name) for name in ("high", "low"))
    for number, title in enumerate(["Anna", "Bell", "Ada"]):
        volume = Volume.plain.create(title=title, shelf=low if number == 1 else high)
        Loan.plain.create(volume=volume, reader=f"reader {number}")
    Tower._base_manager.create(height=3, bells=2)


@pytest.mark.parametrize("name", READS)
def test_it_answers_as_a_plain_one(name: str) -> None:
    read = READS[name]
    expected = shown(read(plain))
    assert shown(read(cached)) == expected
    assert shown(read(cached)) == expected


UNCACHED = {"none", "empty in", "iterator", "prefetch chosen"}


@pytest.mark.parametrize("name", sorted(READS.keys() - UNCACHED))
def test_it_asks_the_database_once(name: str, reads: list[Outcome], django_assert_num_queries: Any) -> None:
    READS[name](cached)
    assert [each for each in reads if each[1] == "bypass"] == []
    reads.clear()
    extra = 1 if name == "contains" else 0  # its argument
    with django_assert_num_queries(extra):
        READS[name](cached)
    assert {outcome for _, outcome, _ in reads} == {"hit"}


def _fixture() -> None:
    data = json.loads(serializers.serialize("json", Item.plain.filter(name="one")))
    data[0]["fields"]["name"] = "from a fixture"
    text = json.dumps(data)
    for each in serializers.deserialize("json", text):
        each.save()


def _raw(sql: str) -> Callable[[], None]:
    def run() -> None:
        with connection.cursor() as cursor:
            cursor.execute(sql)

    return run


def _item(name: str = "one") -> Item:
    return Item.plain.get(name=name)


WRITES: dict[str, Callable[[], Any]] = {
    "create": lambda: Item.objects.create(name="four", count=4),
    "save": lambda: Item(pk=_item().pk, name="changed", count=9).save(),
    "save of some fields": lambda: Item(pk=_item().pk, name="changed").save(update_fields=["name"]),
    "update": lambda: Item.objects.filter(name="one").update(count=7),
    "update of a key": lambda: Item.objects.filter(pk=_item().pk).update(count=F("count") + 5),
    "delete": lambda: _item().delete(),
    "delete of many": lambda: Item.objects.filter(count__gt=1).delete(),
    "cascade": lambda: Shelf.plain.get(name="high").delete(),
    "bulk_create": lambda: Item.objects.bulk_create([Item(name="five"), Item(name="six", count=2)]),
    "bulk_update": lambda: Item.objects.bulk_update([Item(pk=_item().pk, name="bulk")], ["name"]),
    "upsert": lambda: Item.objects.bulk_create(
        [Item(pk=_item().pk, name="up")], update_conflicts=True, unique_fields=["id"], update_fields=["name"]
    ),
    "update_or_create": lambda: Item.objects.update_or_create(name="one", defaults={"count": 8}),
    "get_or_create": lambda: Item.objects.get_or_create(name="new", defaults={"count": 8}),
    "many to many add": lambda: Bundle.plain.get(title="a").items.add(_item("three")),
    "many to many remove": lambda: Bundle.plain.get(title="a").items.remove(_item()),
    "many to many set": lambda: Bundle.plain.get(title="a").items.set([_item("three")]),
    "many to many clear": lambda: (_item("two").bundles.clear(), None),
    "reverse set": lambda: Shelf.plain.get(name="low").volumes.set(Volume.plain.all()),
    "reverse create": lambda: Shelf.plain.get(name="low").volumes.create(title="Abe"),
    "of a related row": lambda: Shelf.objects.filter(name="high").update(name="higher"),
    "raw update": _raw("UPDATE testapp_item SET name = 'raw' WHERE count = 1"),
    "raw insert": _raw("INSERT INTO testapp_item (name, count) SELECT 'raw', 1"),
    "raw delete": _raw("DELETE FROM testapp_loan"),
    "raw with": _raw(
        "WITH x AS (SELECT id FROM testapp_item) UPDATE testapp_item SET count = 5 WHERE id IN (SELECT id FROM x)"
    ),
    "bulk_insert": lambda: bulk_insert(Item, [{"name": "bulk", "count": n} for n in range(3)]),
    "perfkit bulk_update": lambda: bulk_update(
        Item, [(item.pk, {"name": "bulk"}) for item in Item.plain.all()]
    ),
    "perfkit bulk_update of many": lambda: bulk_update(
        Item, [(_item().pk + number, {"name": "bulk"}) for number in range(400)]
    ),
    "perfkit bulk_upsert": lambda: bulk_upsert(
        Item, [{"id": item.pk, "name": "up"} for item in Item.plain.all()], conflict_columns=["id"]
    ),
    "perfkit bulk_upsert of many": lambda: bulk_upsert(
        Volume,
        [
            {"id": volume, "title": f"t{volume}", "shelf_id": Shelf.plain.get(name="low").pk}
            for volume in range(1, 601)
        ],
        conflict_columns=["id"],
    ),
    "perfkit bulk_insert that ignores": lambda: bulk_insert(
        Item, [{"id": _item().pk, "name": "one"}, {"name": "bulk"}], ignore_conflicts=True
    ),
    "proxy": lambda: ProxyItem.objects.filter(name="one").update(name="by proxy"),
    "child": lambda: Tower.objects.update(height=4, bells=5),
    "fixture": _fixture,
    "flush": lambda: call_command("flush", interactive=False, verbosity=0, stdout=io.StringIO()),
}


@pytest.mark.parametrize("atomic", [False, True], ids=["autocommit", "atomic"])
@pytest.mark.parametrize("name", WRITES)
def test_it_is_never_older_than_a_write(name: str, atomic: bool) -> None:
    compared = {
        key: read for key, read in READS.items() if key not in {"index", "get", "get through all", "contains"}
    }

    def answers(of: Any) -> dict[str, Any]:
        found = {}
        for key, read in compared.items():
            try:
                found[key] = shown(read(of))
            except models.ObjectDoesNotExist:
                found[key] = "nothing"
        return found

    before = answers(plain)
    assert answers(cached) == before
    if atomic and name != "flush":
        with transaction.atomic():
            WRITES[name]()
            assert answers(cached) == answers(plain)
    else:
        WRITES[name]()
    after = answers(plain)
    assert after != before, "the write changes what is read"
    assert answers(cached) == after
    assert answers(cached) == after


@pytest.mark.parametrize("name", ["create", "update", "many to many add", "raw delete"])
def test_it_forgets_what_was_rolled_back(name: str) -> None:
    before = {key: shown(read(cached)) for key, read in READS.items()}
    with pytest.raises(RuntimeError), transaction.atomic():
        WRITES[name]()
        {key: shown(read(cached)) for key, read in READS.items()}
        raise RuntimeError
    assert {key: shown(read(cached)) for key, read in READS.items()} == before
    assert {key: shown(read(plain)) for key, read in READS.items()} == before


BYPASSES: dict[str, tuple[Callable[[], Any], str]] = {
    "random order": (lambda: list(Item.objects.order_by("?")), "random"),
    "now": (lambda: list(Bundle.objects.filter(made__lt=Now())), "now"),
    "raw SQL": (lambda: list(Item.objects.annotate(x=RawSQL("1", ()))), "raw SQL"),
    "extra": (lambda: list(Item.objects.extra(where=["1 = 1"])), "extra"),
    "untracked table": (lambda: list(Item.objects.filter(notes__text="x")), "untracked"),
}


@pytest.mark.parametrize("name", BYPASSES)
def test_it_keeps_no_answer_that_may_not_be_kept(name: str, reads: list[Outcome]) -> None:
    read, reason = BYPASSES[name]
    for _ in range(2):
        read()
    assert [outcome for _, outcome, _ in reads] == ["bypass"] * 2
    assert reason in reads[0][2]


def test_it_locks_rows_in_the_database(reads: list[Outcome]) -> None:
    with transaction.atomic():
        assert list(Item.objects.select_for_update().filter(name="one")) == [_item()]
    assert [outcome for _, outcome, _ in reads] == ["bypass"]


def test_it_says_once_which_table_is_not_watched(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        list(Item.objects.filter(notes__text="never written"))
    [message] = [text for text in caplog.messages if "testapp_itemnote" in text]
    assert "PERFKIT['CACHE_MODELS']" in message


@pytest.mark.parametrize("label", ["testapp.ItemNote", "testapp.*"])
def test_it_reads_a_table_that_the_setting_names(settings: Any, reads: list[Outcome], label: str) -> None:
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_MODELS": [label]}
    noted = Item.objects.filter(notes__text="x")
    assert list(noted.all()) == []
    ItemNote.objects.create(item=_item(), text="x")
    assert list(noted.all()) == [_item()]
    assert list(noted.all()) == [_item()]
    assert [outcome for _, outcome, _ in reads] == ["miss", "miss", "hit"]


class TestChoice:
    def test_it_can_be_left_uncached(self, reads: list[Outcome]) -> None:
        assert Item.objects.uncached().count() == 3
        assert len(Item.objects.filter(count=1).uncached()) == 1
        assert reads == []

    def test_it_is_not_lost_on_the_way(self, reads: list[Outcome]) -> None:
        assert len(Item.objects.uncached().filter(count=1).order_by("id").all()[:5]) == 1
        assert reads == []
        assert len(Item.objects.uncached().cached().filter(count=1)) == 1
        assert [outcome for _, outcome, _ in reads] == ["miss"]

    @pytest.mark.parametrize("ttl", [0, -1, 1.5, "60", True])
    def test_it_refuses_a_ttl_that_is_no_number_of_seconds(self, ttl: Any) -> None:
        with pytest.raises(ValueError, match="ttl is a whole number of seconds"):
            Item.objects.cached(ttl=ttl)

    def test_it_comes_with_a_queryset_of_ones_own(self) -> None:
        assert isinstance(Page.counting.shown(), CachedQuerySet)
        manager: Any = CachedQuerySet.as_manager()
        assert isinstance(manager, CachedManager)

    def test_it_hands_out_fresh_objects(self) -> None:
        first, second = (list(Bundle.objects.all()) for _ in range(2))
        first[0].extra["a"] = "changed in memory"
        assert second[0].extra["a"] == 1
        assert Bundle.objects.all()[0].extra["a"] == 1

    def test_it_keeps_a_result_it_has(self, django_assert_num_queries: Any, reads: list[Outcome]) -> None:
        queryset = Item.objects.filter(count=1)
        assert len(queryset) == 1
        reads.clear()
        Item.plain.filter(count=1).update(count=2)
        assert (queryset.count(), queryset.exists(), len(queryset)) == (1, True, 1)
        assert reads == []

    @pytest.mark.parametrize(
        "read",
        [
            lambda: list(Item.objects.uncached().order_by("id")),
            lambda: list(Item.objects.order_by("id").iterator()),
            lambda: list(Item.objects.order_by("?")),
        ],
        ids=["uncached", "iterator", "bypass"],
    )
    def test_what_the_database_answers_is_made_without_django_too(self, read: Callable[[], Any]) -> None:
        expected = shown(list(Item.plain.order_by("id")))
        for _ in range(2):
            assert shown(sorted(read(), key=attrgetter("id"))) == expected
        assert models_initialised(read) == []
