"""Queries with one structure have one SQL; what a query reads is in its SQL; what may not be cached is refused."""

from __future__ import annotations

import copy
import datetime
import enum
import os
import re
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core.exceptions import EmptyResultSet
from django.db import models
from django.db.models import (
    Aggregate,
    Case,
    CharField,
    Count,
    Exists,
    F,
    FilteredRelation,
    Func,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Sum,
    Value,
    When,
)
from django.db.models.expressions import RawSQL
from django.db.models.functions import Cast, Coalesce, Concat, Lower, Now, Random, TruncMonth, Upper
from django.db.models.lookups import Exact
from django.db.models.sql import Query
from django.db.models.sql.query import ExplainInfo
from django.test.utils import isolate_apps, register_lookup
from django.utils import timezone
from django.utils.translation import gettext_lazy
from hypothesis import HealthCheck, event, given, settings

from perfkit.caching.plain_values import UnknownShapeError, marked
from perfkit.caching.registry import plain_table_name
from perfkit.caching.structure import Structure, reach_of, structure_of
from project.flights.models import Airport, Flight, StatusReport
from tests.caching.recipes import (
    AMBIGUOUS,
    CONFUSABLE,
    CORRELATED,
    EXPRESSIONS,
    INNER,
    MODELS,
    ORDERINGS,
    Recipe,
    condition,
    made,
    pairs,
)
from tests.testapp.models import (
    Badge,
    Book,
    Everything,
    Item,
    ItemNote,
    OtherTwin,
    Person,
    Tower,
    Volume,
)

ROOT = Path(__file__).parents[2]
TABLE_AFTER = re.compile(r'(?:FROM|JOIN) \(*("[^ ]+")')
FROM_OF_EXTRACT = re.compile(r"EXTRACT\([^ ]+ FROM ")


def tables_in(sql: str) -> set[str]:
    return {plain_table_name(name) for name in TABLE_AFTER.findall(FROM_OF_EXTRACT.sub("EXTRACT(", sql))}


pytestmark = pytest.mark.django_db


def sent(value: Any) -> tuple[type, str]:
    """Return what a driver makes of a parameter: no more than that tells two apart."""
    if isinstance(value, enum.Enum):
        return type(value.value), repr(value.value)
    if isinstance(value, datetime.datetime | datetime.time):
        return type(value), f"{value.isoformat()} {value.fold} {value.tzinfo is None}"
    if isinstance(value, memoryview):  # SQLite's form of bytes, which shows where it is and not what
        return type(value), repr(bytes(value))
    if isinstance(value, list | tuple):
        return type(value), repr([sent(item) for item in value])
    if type(value).__repr__ is object.__repr__:
        return type(value), repr(vars(value))
    return type(value), repr(value)


def compiled(query: Query) -> tuple[Any, ...]:
    """Return the SQL and the parameters, or how compiling ends without them."""
    try:
        sql, params = query.clone().get_compiler("default").as_sql()
    except EmptyResultSet:
        return ("empty",)
    except Exception as error:  # noqa: BLE001  # whatever it is, both must end in it
        return (type(error).__name__, str(error))
    return (sql, [sent(param) for param in params])


def known(queryset: QuerySet[Any]) -> Structure:
    structure = structure_of(queryset.query)
    assert structure is not None
    return structure


def same(first: Structure, second: Structure) -> bool:
    typed = [[(type(value), value) for value in structure.values] for structure in (first, second)]
    return first.skeleton == second.skeleton and typed[0] == typed[1]


def is_plain(part: Any) -> bool:
    if type(part) is tuple:
        return all(map(is_plain, part))
    return part is None or type(part) in {str, int}


@settings(max_examples=400, suppress_health_check=list(HealthCheck))
@given(pairs())
def test_it_is_equal_only_for_equal_sql(pair: tuple[type[models.Model], Recipe, Recipe]) -> None:
    model, *recipes = pair
    first, second = (structure_of(made(model, recipe).query) for recipe in recipes)
    if first is not None and second is not None:
        is_same = same(first, second)
        event(f"equal structures: {is_same}, equal recipes: {recipes[0] == recipes[1]}")
        if is_same:
            assert compiled(made(model, recipes[0]).query) == compiled(made(model, recipes[1]).query)
    else:
        event("unknown")


@settings(max_examples=200, suppress_health_check=list(HealthCheck))
@given(pairs())
def test_it_leaves_the_query_as_it_is(pair: tuple[type[models.Model], Recipe, Recipe]) -> None:
    model, recipe, _ = pair
    before = compiled(made(model, recipe).query)
    queryset = made(model, recipe)
    structure = structure_of(queryset.query)
    reach_of(queryset.query)
    assert structure_of(queryset.query) == structure
    assert hash(structure_of(queryset.query)) == hash(structure)
    assert structure_of(queryset.all().query) == structure
    assert structure_of(queryset.query.clone()) == structure
    assert structure_of(made(model, recipe).query) == structure
    assert compiled(queryset.query) == before
    if structure is None:  # only where Django has no SQL either, or where compiling would change the query
        assert before[0] == "FieldError" or "'key'" in repr(recipe)
    else:
        assert is_plain(structure.skeleton)


@settings(max_examples=200, suppress_health_check=list(HealthCheck))
@given(pairs())
def test_it_knows_every_table_of_the_sql(pair: tuple[type[models.Model], Recipe, Recipe]) -> None:
    model, recipe, _ = pair
    query = made(model, recipe).query
    reach = reach_of(query)
    sql, *_ = compiled(query)
    if not sql.startswith(("SELECT", "(SELECT")):
        return
    in_sql = tables_in(sql)
    assert reach.tables >= in_sql
    if "[]" not in repr(recipe) and "nothing" not in repr(recipe) and "None" not in repr(recipe):
        assert reach.tables == in_sql


def all_related() -> QuerySet[Any]:
    """Return what `select_related()` gives, which later versions of Django warn of."""
    queryset = Flight.objects.all()
    queryset.query.select_related = True
    return queryset


SHAPES: dict[str, Callable[[], QuerySet[Any]]] = {
    **{
        f"{method} {name}": lambda make=make, method=method: getattr(Flight.objects, method)(
            extra=make(
                "time_hour" if make is EXPRESSIONS["year"] or make is EXPRESSIONS["month"] else "distance", 1
            )
        )
        for method in ("annotate", "alias")
        for name, make in EXPRESSIONS.items()
    },
    **{
        f"order {name}": lambda make=make: Airport.objects.annotate(extra=Lower("name")).order_by(
            make("name")
        )
        for name, make in ORDERINGS.items()
    },
    **{
        f"in {name}": lambda make=make: Airport.objects.filter(code__in=make())
        for name, make in INNER.items()
    },
    **{
        f"exists {name}": lambda make=make: Airport.objects.exclude(Exists(make("name")))
        for name, make in CORRELATED.items()
    },
    "exclude to many": lambda: Book.objects.exclude(authors__books__title="x", review__stars=1),
    "generic relation": lambda: Book.objects.filter(labels__text="x"),
    "inherited": lambda: Tower.objects.filter(height=1),
    "related": lambda: StatusReport.objects.select_related("flight__origin", "author")[:5],
    "all related": all_related,
    "only": lambda: Flight.objects.select_related("origin").only("origin__name", "number"),
    "json key": lambda: StatusReport.objects.filter(author__activities__detail__a__b=1),
    "grouped": lambda: Flight.objects.values("origin").annotate(n=Count("*")).filter(n__gt=1).order_by("-n"),
    "several": lambda: Flight.objects.filter(Q(year=1) | ~Q(month__in=[1, 2]), day__range=(1, 3)).distinct(),
    "compared": lambda: Flight.objects.filter(Exact(Lower("tailnum"), Upper(F("plane__tailnum")))),
    "none": Item.objects.none,
}


@pytest.mark.parametrize("name", SHAPES)
def test_it_knows_the_shape(name: str) -> None:
    first, second = SHAPES[name](), SHAPES[name]()
    assert known(first) == known(second)
    assert compiled(first.query) == compiled(second.query)


@pytest.mark.parametrize("value", CONFUSABLE, ids=repr)
@pytest.mark.parametrize("lookup", ["exact", "in", "gt", "contains", "range", "year"])
def test_it_knows_every_lookup_of_plain_values(lookup: str, value: Any) -> None:
    for model, paths in MODELS.items():
        for path in set(paths) - {"key"}:  # compiling a text lookup of a UUID changes it
            try:
                queryset = QuerySet(model).filter(condition(("leaf", path, lookup, value)))
            except Exception:  # noqa: BLE001, S112  # Django refuses the combination
                continue
            assert structure_of(queryset.query) is not None, (model, path)


def two_subqueries() -> QuerySet[Any]:
    return Airport.objects.annotate(
        a=Exists(Flight.objects.filter(origin=OuterRef("pk"))),
        b=Exists(Flight.objects.filter(origin=OuterRef("pk"))),
    )


MOMENT = datetime.datetime(2024, 10, 27, 2, 30, tzinfo=datetime.UTC)
LATER = MOMENT.astimezone(datetime.timezone(datetime.timedelta(hours=1)))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Item.plain.annotate(x=Value(1)), Item.plain.annotate(x=Value(True))),
        (Item.plain.annotate(x=Value(1)), Item.plain.annotate(x=Value(1.0))),
        (Item.plain.annotate(x=Value(0.0)), Item.plain.annotate(x=Value(-0.0))),
        (Item.plain.annotate(x=Value(Decimal(1))), Item.plain.annotate(x=Value(Decimal("1.0")))),
        (
            Item.plain.annotate(x=Value(MOMENT, CharField())),
            Item.plain.annotate(x=Value(LATER, CharField())),
        ),
        (Item.plain.filter(count__in=[1, 2]), Item.plain.filter(count__in=[1, 2, 3])),
        (Item.plain.filter(name="a").filter(count=1), Item.plain.filter(count=1).filter(name="a")),
        (Item.plain.filter(notes__text="a"), Item.plain.filter(notes__text="a").filter(notes__text="a")),
        (
            Item.plain.filter(notes__text="a", notes__id=1),
            Item.plain.filter(notes__text="a").filter(notes__id=1),
        ),
        (Item.plain.annotate(x=Value("x")), Item.plain.annotate(y=Value("x"))),
        (
            Item.plain.annotate(x=Lower("name")).order_by(Lower("name")),
            Item.plain.annotate(x=Lower(F("name"))).order_by(Lower("name")),
        ),
        (
            Item.plain.annotate(x=Concat("name", Value("a"))).order_by(Concat("name", Value("a"))),
            Item.plain.annotate(x=Concat("name", Value("a"))).order_by(Concat("name", Value("b"))),
        ),
        (Item.plain.annotate(x=Lower("name")), Item.plain.alias(x=Lower("name"))),
        (
            Item.plain.annotate(x=Lower("name")).order_by("x"),
            Item.plain.annotate(x=Lower("name")).order_by("-x"),
        ),
        (
            Item.plain.annotate(x=Value(AMBIGUOUS, CharField())),
            Item.plain.annotate(x=Value(AMBIGUOUS.replace(fold=1), CharField())),
        ),
        (Item.plain.order_by("name"), Item.plain.order_by("name").reverse()),
        (Item.plain.all()[:5], Item.plain.all()[:6]),
        (Item.plain.all()[1:5], Item.plain.all()[2:5]),
        (Item.plain.values("name", "count"), Item.plain.values("count", "name")),
        (Item.plain.only("name"), Item.plain.only("count")),
        (Item.plain.only("name"), Item.plain.defer("name")),
        (Item.plain.filter(name="a"), Item.plain.exclude(name="a")),
        (Item.plain.filter(Q(name="a") | Q(count=1)), Item.plain.filter(Q(name="a") & Q(count=1))),
        (Item.plain.filter(name="a"), Item.plain.filter(name__iexact="a")),
        (Item.plain.filter(name=F("name")), Item.plain.filter(name="name")),
        (Item.plain.filter(name="a").distinct(), Item.plain.filter(name="a")),
        (Item.plain.annotate(x=Count("notes")), Item.plain.annotate(x=Count("notes", distinct=True))),
        (Item.plain.annotate(x=Count("notes")), Item.plain.annotate(x=Count("notes", filter=Q(count=1)))),
        (Airport.objects.all(), Airport.objects.order_by()),
        (ItemNote.objects.select_related("item"), ItemNote.objects.all()),
        (
            Book.objects.filter(authors__in=Person.objects.filter(name="a")),
            Book.objects.filter(authors__in=Person.objects.filter(name="b")),
        ),
        (
            two_subqueries().values("a").annotate(n=Count("*")),
            two_subqueries().values("b").annotate(n=Count("*")),
        ),
        (
            Everything.objects.annotate(x=TruncMonth("moment")),
            Everything.objects.annotate(x=TruncMonth("moment", tzinfo=ZoneInfo("Asia/Tokyo"))),
        ),
    ],
)
def test_it_tells_apart_what_is_sent_differently(first: QuerySet[Any], second: QuerySet[Any]) -> None:
    assert not same(known(first), known(second))
    assert compiled(first.query) != compiled(second.query)


def noted() -> QuerySet[Any]:
    return Item.plain.annotate(n=Count("notes"), low=Cast("name", CharField(max_length=3))).filter(
        Q(notes__text="a") | ~Q(name="b")
    )


POKES: dict[str, Callable[[Query], Any]] = {
    "negated": lambda query: query.where.children[0].children[1].negate(),
    "connector": lambda query: setattr(query.where.children[0], "connector", "AND"),
    "join type": lambda query: query.alias_map.update(
        {alias: join.demote() for alias, join in query.alias_map.items() if join.join_type}
    ),
    "output field": lambda query: setattr(query.annotations["low"], "output_field", CharField(max_length=4)),
    "template": lambda query: setattr(query.annotations["n"], "template", "SUM(%(expressions)s)"),
    "group": lambda query: setattr(query, "group_by", None),
    "mask": lambda query: query.set_annotation_mask({"n"}),
    "distinct": lambda query: setattr(query, "distinct", True),
    "limits": lambda query: query.set_limits(1, 2),
    "default columns": lambda query: query.set_values(["name"]),
    "alias of a column": lambda query: setattr(
        query.where.children[0].children[0], "lhs", query.where.children[0].children[1].children[0].lhs
    ),
    "count of an alias": lambda query: query.alias_refcount.update(dict.fromkeys(query.alias_refcount, 0)),
    "value": lambda query: setattr(query.where.children[0].children[0], "rhs", "c"),
    "ordering": lambda query: query.add_ordering("name"),
}


@pytest.mark.parametrize("name", POKES)
def test_it_sees_every_part_that_the_sql_depends_on(name: str) -> None:
    queryset = noted()
    before, sql = known(queryset), compiled(queryset.query)
    other = noted()
    assert known(other) == before
    POKES[name](other.query)
    assert compiled(other.query) != sql
    assert structure_of(other.query) != before


def test_it_tells_one_subquery_met_twice_from_two() -> None:
    notes = Exists(ItemNote.objects.filter(item=OuterRef("pk")))
    for_two, for_one = (Item.plain.filter(notes).filter(copy.deepcopy(notes)) for _ in range(2))
    condition_twice = for_one.query.where.children
    condition_twice[1] = condition_twice[0]
    assert known(for_two) != known(for_one)


def test_it_takes_the_member_of_an_enumeration_for_what_is_sent() -> None:
    member = StatusReport.objects.filter(kind=StatusReport.Kind.DELAY)
    assert same(known(member), known(StatusReport.objects.filter(kind="delay")))


def test_it_depends_on_the_time_zone_where_the_sql_does() -> None:
    plain = Everything.objects.filter(moment__gt=MOMENT)
    for queryset in (
        Everything.objects.filter(moment__year=2024),
        Everything.objects.filter(moment__date=datetime.date(2024, 1, 1)),
        Everything.objects.annotate(month=TruncMonth("moment")),
    ):
        with timezone.override("Europe/Berlin"):
            there, plain_there = known(queryset), known(plain)
        with timezone.override("Asia/Tokyo"):
            assert not same(known(queryset), there)
            assert same(known(plain), plain_there)


def test_it_does_not_trust_the_name_of_a_time_zone() -> None:
    queryset = Everything.objects.filter(moment__year=2024)
    found = []
    for hours in (1, 2):
        with timezone.override(datetime.timezone(datetime.timedelta(hours=hours), "home")):
            found.append((known(queryset), compiled(queryset.query)))
    assert not same(found[0][0], found[1][0])
    assert found[0][1] != found[1][1]


def test_it_survives_compiling() -> None:
    for queryset in (Item.plain.all(), Item.plain.annotate(n=Count("notes"), low=Lower("name")).filter(n=1)):
        before = known(queryset)
        queryset.query.get_compiler("default").as_sql()
        assert known(queryset.all()) == before


class Squared(Func):
    function = "POWER"


class SameText(models.Lookup):  # type: ignore[type-arg]
    lookup_name = "sametext"

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        left, left_params = self.process_lhs(compiler, connection)
        right, right_params = self.process_rhs(compiler, connection)
        return f"{left} = {right}", [*left_params, *right_params]


class Shout(models.Transform):
    function = "UPPER"
    lookup_name = "shout"


class Product(Aggregate):
    function = "SUM"


class TextLike(str):
    __slots__ = ()


class Colour(str, enum.Enum):  # noqa: UP042  # a StrEnum is written as what is sent
    """Is written `Colour.RED` into a pattern, `red` elsewhere."""

    RED = "red"


def explained() -> QuerySet[Any]:
    queryset = Item.plain.all()
    queryset.query.explain_info = ExplainInfo(None, {})
    return queryset


def counted_with_filter() -> QuerySet[Any]:
    return Item.plain.annotate(note=FilteredRelation("notes", condition=Q(notes__text="x"))).filter(
        note__id=1
    )


@pytest.mark.parametrize(
    "queryset",
    [
        Item.plain.extra(where=["count = 1"]),
        Item.plain.extra(select={"x": "1"}),
        Item.plain.extra(tables=["testapp_itemnote"]),
        Item.plain.annotate(x=RawSQL("1", [])),
        Item.plain.filter(count__in=RawSQL("1", [])),
        Item.plain.order_by(RawSQL("1", [])),
        Item.plain.select_for_update(),
        Item.plain.all().union(Item.plain.filter(count=1)),
        Item.plain.annotate(x=Squared("count", 2)),
        counted_with_filter(),
        explained(),
        Item.plain.filter(name__contains=TextLike("x")),
        Item.plain.filter(name__contains=Colour.RED),
        Item.plain.filter(name__contains=gettext_lazy("Yes")),
        Item.plain.filter(name__contains=object()),
        Item.plain.annotate(x=Value({"a": 1}, models.JSONField())),
        Item.plain.annotate(x=Value("1", output_field=type("Own", (CharField,), {})())),
        Everything.objects.filter(key__startswith="a"),
        Item.plain.filter(pk__in=[RawSQL("1", []), 2]),
    ],
)
def test_it_does_not_name_what_it_does_not_know(queryset: QuerySet[Any]) -> None:
    assert structure_of(queryset.query) is None


def test_it_never_raises() -> None:
    odd = Item.plain.filter(count=1).query
    odd.where.children[0].lhs = None
    surplus = Item.plain.filter(count=1).query
    surplus.hint = 1
    for query in (
        None,
        1,
        "SELECT 1",
        object(),
        Item.plain.all(),
        odd,
        surplus,
        Item.plain.all().query.chain,
    ):
        assert structure_of(query) is None


def test_it_knows_no_query_but_a_select() -> None:
    query = Item.plain.all().query
    for cls in (models.sql.UpdateQuery, models.sql.DeleteQuery, models.sql.InsertQuery):
        assert structure_of(query.chain(cls)) is None


@pytest.mark.parametrize("value", [{1}, {"a": 1}, b"a"[:0].join, bytearray(b"a"), [object()], range(3)])
def test_it_refuses_values_that_are_not_plain(value: Any) -> None:
    with pytest.raises(UnknownShapeError):
        marked(value)


SQL_OF_OTHERS = [
    (lambda: Item.plain.order_by("?"), "random order"),
    (lambda: Item.plain.order_by(Random()), "volatile function Random"),
    (lambda: Item.plain.annotate(x=Random()), "volatile function Random"),
    (lambda: Item.plain.filter(count__gt=Coalesce(Random(), 1.0)), "volatile function Random"),
    (lambda: Everything.objects.filter(moment__lt=Now()), "now()"),
    (lambda: Everything.objects.annotate(x=Case(When(moment__lt=Now(), then=1))), "now()"),
    (lambda: Everything.objects.order_by(Case(When(moment__lt=Now(), then=1), default=2)), "now()"),
    (Item.plain.select_for_update, "select_for_update"),
    (lambda: Item.plain.annotate(x=RawSQL("1", [])), "raw SQL"),
    (lambda: Item.plain.filter(pk__in=[RawSQL("1", []), 2]), "raw SQL"),
    (lambda: Item.plain.filter(pk__in=Item.plain.order_by(RawSQL("1", []))[:1]), "raw SQL"),
    (lambda: Item.plain.extra(where=["count = 1"]), "extra()"),
    (lambda: Item.plain.extra(select={"x": "1"}), "extra()"),
    (lambda: Item.plain.filter(pk__in=Item.plain.extra(where=["count = 1"])), "extra()"),
    (explained, "explain"),
    (lambda: Item.plain.annotate(x=Func(function="random")), "custom SQL in Func"),
    (lambda: Item.plain.annotate(x=Lower("name", function="pg_sleep")), "custom SQL in Lower"),
    (lambda: Item.plain.annotate(x=Lower("name", template="random()")), "custom SQL in Lower"),
    (lambda: Item.plain.annotate(x=Aggregate("count", function="own")), "custom SQL in Aggregate"),
    (
        lambda: Item.plain.annotate(x=Subquery(Item.plain.values("pk")[:1], template="f(%(subquery)s)")),
        "custom SQL in Subquery",
    ),
    (lambda: Item.plain.annotate(x=Squared("count", 2)), "custom expression Squared"),
    (lambda: Item.plain.annotate(x=Product("count")), "custom aggregate Product"),
    (lambda: Item.plain.order_by(Squared("count", 2).desc()), "custom expression Squared"),
    (lambda: Item.plain.filter(name__sametext="x"), "custom lookup SameText"),
    (lambda: Item.plain.filter(name__shout="x"), "custom transform Shout"),
    (
        lambda: Item.plain.filter(Exists(Item.plain.filter(name__sametext=OuterRef("name")))),
        "custom lookup SameText",
    ),
    (lambda: Item.plain.all().union(Item.plain.annotate(x=Random())), "volatile function Random"),
    (
        lambda: Item.plain.annotate(
            note=FilteredRelation("notes", condition=Q(notes__text__sametext="x"))
        ).filter(note__id=1),
        "custom lookup SameText",
    ),
]


@pytest.mark.parametrize(("make", "refusal"), SQL_OF_OTHERS, ids=[refusal for _, refusal in SQL_OF_OTHERS])
def test_it_refuses(make: Callable[[], QuerySet[Any]], refusal: str) -> None:
    with register_lookup(CharField, SameText), register_lookup(CharField, Shout):
        assert reach_of(make().query).refusal == refusal


@pytest.mark.parametrize("name", SHAPES)
def test_it_refuses_nothing_that_django_made(name: str) -> None:
    assert reach_of(SHAPES[name]().query).refusal == ""


def test_it_refuses_a_join_with_a_condition_of_others() -> None:
    class TenantKey(models.ForeignKey):  # type: ignore[type-arg]
        def get_extra_restriction(self, alias: Any, related_alias: Any) -> Any:
            return None

    with isolate_apps("tests.testapp"):

        class Owner(models.Model):
            name = models.CharField(max_length=5)

            class Meta:
                app_label = "testapp"

        class Owned(models.Model):
            owner = TenantKey(Owner, models.CASCADE)

            class Meta:
                app_label = "testapp"

        for queryset in (
            QuerySet(Owned).filter(owner__name="x"),
            QuerySet(Owned).order_by("owner__name"),
            QuerySet(Owned).select_related("owner"),
        ):
            assert reach_of(queryset.query).refusal == "custom join TenantKey"
        assert structure_of(QuerySet(Owned).filter(owner__name="x").query) is None
        assert structure_of(QuerySet(Owned).select_related("owner").query) is None
        assert reach_of(QuerySet(Owned).filter(owner=1).query).refusal == ""


@pytest.mark.parametrize(
    ("make", "tables"),
    [
        (Item.plain.all, {"testapp_item"}),
        (lambda: Item.plain.filter(notes__text="x"), {"testapp_item", "testapp_itemnote"}),
        (lambda: ItemNote.objects.select_related("item"), {"testapp_item", "testapp_itemnote"}),
        (lambda: ItemNote.objects.order_by("item__name"), {"testapp_item", "testapp_itemnote"}),
        (lambda: ItemNote.objects.order_by("item_id"), {"testapp_itemnote"}),
        (lambda: ItemNote.objects.order_by(F("item__name").desc()), {"testapp_item", "testapp_itemnote"}),
        (lambda: Badge.objects.order_by("owner"), {"testapp_badge", "testapp_member"}),
        (lambda: Badge.objects.values("owner").order_by("owner"), {"testapp_badge"}),
        (lambda: Item.plain.annotate(n=Count("notes")), {"testapp_item", "testapp_itemnote"}),
        (lambda: Item.plain.annotate(n=Sum("notes__id", default=0)), {"testapp_item", "testapp_itemnote"}),
        (lambda: Item.plain.filter(pk__in=Volume.objects.values("pk")), {"testapp_item", "testapp_volume"}),
        (lambda: Item.plain.filter(Exists(Volume.objects.all())), {"testapp_item", "testapp_volume"}),
        (lambda: Item.plain.alias(x=Exists(Volume.objects.all())), {"testapp_item"}),
        (
            lambda: Item.plain.alias(x=Exists(Volume.objects.all())).order_by("x"),
            {"testapp_item", "testapp_volume"},
        ),
        (
            lambda: Item.plain.annotate(x=Subquery(Volume.objects.filter(shelf__name="x").values("pk")[:1])),
            {"testapp_item", "testapp_volume", "testapp_shelf"},
        ),
        (
            lambda: Item.plain.values("pk").union(Volume.objects.filter(shelf__name="x").values("pk")),
            {"testapp_item", "testapp_volume", "testapp_shelf"},
        ),
        (Tower.objects.all, {"testapp_tower", "testapp_building"}),
        (lambda: Tower.objects.only("bells"), {"testapp_tower"}),
        (OtherTwin.objects.all, {"testapp_twin"}),
        (counted_with_filter, {"testapp_item", "testapp_itemnote"}),
        (
            lambda: Book.objects.exclude(authors__name="x"),
            {"testapp_book", "testapp_book_authors", "testapp_person"},
        ),
    ],
)
def test_it_reads(make: Callable[[], QuerySet[Any]], tables: set[str]) -> None:
    query = make().query
    assert reach_of(query).tables == tables
    sql, *_ = compiled(query)
    assert tables_in(sql) == tables


def test_it_says_why_a_query_cannot_be_planned() -> None:
    query = Item.plain.select_related("name").query
    assert reach_of(query).refusal.startswith("it cannot be planned: Non-relational field")
    assert structure_of(query) is None


def skeletons() -> list[str]:
    """Return the skeletons of all shapes, as another process must see them too."""
    return [f"{name}: {known(make()).skeleton!r}" for name, make in SHAPES.items()]


def test_it_is_the_same_in_every_process() -> None:
    code = (
        "import django; django.setup();"
        "from tests.caching.test_structure import skeletons; print(*skeletons(), sep='\\n')"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "1", "DJANGO_SETTINGS_MODULE": "tests.settings"}
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert told.stdout.splitlines() == skeletons()
