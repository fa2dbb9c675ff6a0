"""Querysets as recipes: lists of steps that can be drawn at random, changed a little, and made again."""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

from django.core.exceptions import FieldError
from django.db import models
from django.db.models import (
    Avg,
    Case,
    Count,
    Exists,
    ExpressionWrapper,
    F,
    Max,
    Min,
    OuterRef,
    Q,
    QuerySet,
    RowRange,
    Subquery,
    Sum,
    Value,
    When,
    Window,
)
from django.db.models.functions import (
    Cast,
    Coalesce,
    Concat,
    ExtractYear,
    Length,
    Lower,
    Rank,
    RowNumber,
    Substr,
    TruncMonth,
    Upper,
)
from hypothesis import strategies as st

from project.flights.models import Airport, Flight, StatusReport
from tests.testapp.models import Book, Everything, Item, Person, Review, Tower, Volume

Step = tuple[Any, ...]
Recipe = tuple[Step, ...]
BERLIN = ZoneInfo("Europe/Berlin")
AMBIGUOUS = datetime.datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN)
CONFUSABLE: list[Any] = [
    *(1, True, 1.0, "1", decimal.Decimal(1), decimal.Decimal("1.0"), b"1"),
    *(0, False, 0.0, -0.0, "0", decimal.Decimal("-0"), float("nan"), ""),
    *(datetime.date(2024, 10, 27), "2024-10-27", datetime.datetime(2024, 10, 27, tzinfo=datetime.UTC)),
    *(AMBIGUOUS, AMBIGUOUS.replace(fold=1), AMBIGUOUS.astimezone(datetime.UTC)),
    *(datetime.time(2, 30), datetime.time(2, 30, fold=1), datetime.timedelta(days=1), 86400, 86_400_000_000),
    *(uuid.UUID(int=1), str(uuid.UUID(int=1)), "x", "%", "X", StatusReport.Kind.DELAY, "delay", 10**30),
    *(Everything.Rank.LOW, [], [1], [1, True], [1.0, 1], [None], [None, 1], ["x", "1"], None),
]
MODELS = {
    Airport: ["code", "name", "latitude", "altitude", "departures", "departures__airline", "weather__temp"],
    Flight: [
        "id",
        "origin",
        "origin__name",
        "airline__code",
        "plane__seats",
        "time_hour",
        "reports__kind",
        "pk",
    ],
    StatusReport: [
        "kind",
        "flight",
        "flight__origin__name",
        "created_at",
        "author__username",
        "delay_minutes",
    ],
    Everything: [
        "whole",
        "real",
        "money",
        "flag",
        "day",
        "clock",
        "moment",
        "span",
        "key",
        "blob",
        "country",
    ],
    Book: ["title", "authors", "authors__name", "publisher__name", "review__stars", "labels__text", "editor"],
    Tower: ["bells", "height", "id"],
    Volume: ["title", "shelf", "shelf__name", "loans__reader", "loans"],
}
RELATED = {
    Airport: [],
    Flight: ["origin", "airline", "plane", "destination"],
    StatusReport: ["flight", "author", "flight__origin", "flight__plane"],
    Everything: ["country"],
    Book: ["publisher", "editor", "editor__mentor", "editor__its_profile"],
    Tower: [],
    Volume: ["shelf", "shelf__signpost"],
}
LOOKUPS = [
    *("exact", "iexact", "in", "range", "isnull", "gt", "gte", "lt", "lte", "contains", "icontains"),
    *("startswith", "istartswith", "endswith", "iendswith", "regex", "iregex", "year", "year__gt", "date"),
]
INNER: dict[str, Callable[[], QuerySet[Any]]] = {
    "airports": lambda: Airport.objects.filter(tzone="x"),
    "codes": lambda: Airport.objects.filter(altitude__gt=1).values("code"),
    "flights": lambda: Flight.objects.filter(origin__name="x").order_by("-time_hour")[:3],
    "people": lambda: Person.objects.filter(mentor__mentor__name="x"),
    "names": lambda: Person.objects.order_by("name").values_list("name", flat=True),
    "nothing": Item.objects.none,
}
CORRELATED: dict[str, Callable[[str], QuerySet[Any]]] = {
    "flights": lambda path: Flight.objects.filter(origin__name=OuterRef(path)),
    "reviews": lambda path: Review.objects.filter(stars=OuterRef(path)).exclude(book__authors__name="x"),
    "items": lambda path: Item.plain.filter(name=OuterRef(path)).order_by("count"),
}
EXPRESSIONS: dict[str, Callable[[str, Any], Any]] = {
    "field": lambda path, _: F(path),
    "value": lambda _, value: Value(value),
    "value as text": lambda _, value: Value(value, output_field=models.CharField()),
    "value as whole": lambda _, value: Value(value, models.IntegerField()),
    "value as moment": lambda _, value: Value(value, output_field=models.DateTimeField()),
    "lower": lambda path, _: Lower(path),
    "lower of field": lambda path, _: Lower(F(path)),
    "upper": lambda path, _: Upper(path),
    "length": lambda path, _: Length(path),
    "substring": lambda path, _: Substr(path, 1, 2),
    "concat": lambda path, value: Concat(path, Value(value), output_field=models.TextField()),
    "cast to text": lambda path, _: Cast(path, models.CharField(max_length=5)),
    "cast to longer text": lambda path, _: Cast(path, models.CharField(max_length=6)),
    "cast to decimal": lambda path, _: Cast(path, models.DecimalField(max_digits=8, decimal_places=2)),
    "coalesce": lambda path, value: Coalesce(path, Value(value)),
    "plus": lambda path, value: F(path) + value,
    "minus": lambda path, value: F(path) - value,
    "wrapped": lambda path, value: ExpressionWrapper(F(path) * value, output_field=models.FloatField()),
    "case": lambda path, value: Case(When(**{path: value}, then=Value(1)), default=Value(0)),
    "case of q": lambda path, value: Case(When(Q((path, value)), then=Value(1)), default=Value(0)),
    "count": lambda path, _: Count(path),
    "count distinct": lambda path, _: Count(path, distinct=True),
    "count of all": lambda *_: Count("*"),
    "count where": lambda path, value: Count("pk", filter=Q((path, value))),
    "sum": lambda path, _: Sum(path),
    "sum or": lambda path, value: Sum(path, default=value),
    "average": lambda path, _: Avg(path),
    "least": lambda path, _: Min(path),
    "most": lambda path, _: Max(path),
    "exists": lambda path, _: Exists(CORRELATED["flights"](path)),
    "not exists": lambda path, _: ~Exists(CORRELATED["reviews"](path)),
    "subquery": lambda path, _: Subquery(CORRELATED["items"](path).values("count")[:1]),
    "row number": lambda path, _: Window(RowNumber(), partition_by=path, order_by="-pk"),
    "rank": lambda path, _: Window(Rank(), order_by=F(path).desc()),
    "moving sum": lambda path, _: Window(Sum(path), order_by="pk", frame=RowRange(start=-2, end=0)),
    "year": lambda path, _: ExtractYear(path),
    "month": lambda path, _: TruncMonth(path),
}
ORDERINGS: dict[str, Callable[[str], Any]] = {
    "up": lambda path: path,
    "down": lambda path: f"-{path}",
    "field up": lambda path: F(path).asc(),
    "field down": lambda path: F(path).desc(nulls_last=True),
    "lower": Lower,
    "lower of field": lambda path: Lower(F(path)).desc(),
    "case": lambda path: Case(When(**{f"{path}__isnull": True}, then=0), default=1),
    "extra": lambda _: "extra",
}


def condition(described: Any) -> Q:  # noqa: PLR0911  # one a kind
    """Return the condition that `described` tells of: a leaf, or a connector with what it connects."""
    match described:
        case ("leaf", path, lookup, value):
            return Q((f"{path}__{lookup}" if lookup else path, value))
        case ("inner", path, name):
            return Q((f"{path}__in", INNER[name]()))
        case ("exists", path, name):
            return Q(Exists(CORRELATED[name](path)))
        case ("field", path, lookup, other):
            return Q((f"{path}__{lookup}", F(other)))
        case ("not", part):
            return ~condition(part)
        case ("and", left, right):
            return condition(left) & condition(right)
        case ("or", left, right):
            return condition(left) | condition(right)
        case _:
            return condition(described[1]) ^ condition(described[2])


def taken(queryset: QuerySet[Any], step: Step) -> QuerySet[Any]:  # noqa: PLR0911  # one a kind
    """Return `queryset` with one step more."""
    match step:
        case ("filter", described):
            return queryset.filter(condition(described))
        case ("exclude", described):
            return queryset.exclude(condition(described))
        case ("annotate", name, path, value):
            return queryset.annotate(extra=EXPRESSIONS[name](path, value))
        case ("alias", name, path, value):
            return queryset.alias(extra=EXPRESSIONS[name](path, value))
        case ("order", *items):
            return queryset.order_by(*[ORDERINGS[kind](path) for kind, path in items])
        case ("slice", start, stop):
            return queryset[start:stop]
        case ("reverse",):
            return queryset.reverse()
        case (
            ("distinct" | "values" | "values_list" | "only" | "defer" | "select_related") as method,
            *names,
        ):
            return getattr(queryset, method)(*names)
        case _:
            raise AssertionError(step)


def made(model: type[models.Model], recipe: Recipe) -> QuerySet[Any]:
    """Return the queryset of a recipe; steps that Django refuses are left out."""
    queryset = QuerySet(model)
    for step in recipe:
        try:
            queryset = taken(queryset, step)
        except (
            FieldError,
            ValueError,
            TypeError,
            AttributeError,
            models.ObjectDoesNotExist,
            NotImplementedError,
            RuntimeWarning,  # of a moment without time zone
        ):
            continue
        except Exception as error:
            if type(error).__name__ not in {"NotSupportedError", "ValidationError", "InvalidOperation"}:
                raise
    return queryset


def conditions(paths: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    values = st.sampled_from(CONFUSABLE)
    leaves = st.one_of(
        st.tuples(st.just("leaf"), paths, st.sampled_from(["", "", *LOOKUPS]), values),
        st.tuples(st.just("leaf"), paths, st.just("isnull"), st.booleans()),
        st.tuples(st.just("inner"), paths, st.sampled_from(sorted(INNER))),
        st.tuples(st.just("exists"), paths, st.sampled_from(sorted(CORRELATED))),
        st.tuples(st.just("field"), paths, st.sampled_from(["exact", "lt", "contains"]), paths),
    )
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.tuples(st.just("not"), inner), st.tuples(st.sampled_from(["and", "or", "xor"]), inner, inner)
        ),
        max_leaves=4,
    )


def steps(model: type[models.Model]) -> st.SearchStrategy[Step]:
    paths = st.sampled_from(MODELS[model])
    columns = st.lists(st.sampled_from([field.name for field in model._meta.fields]), max_size=3, unique=True)
    names = st.lists(paths | st.just("extra"), max_size=3, unique=True)
    expressions = st.tuples(
        st.sampled_from(["annotate", "annotate", "alias"]),
        st.sampled_from(sorted(EXPRESSIONS)),
        paths,
        st.sampled_from(CONFUSABLE),
    )
    several = st.lists(st.tuples(st.sampled_from(sorted(ORDERINGS)), paths), max_size=3)
    slices = st.tuples(st.just("slice"), st.sampled_from([None, 0, 1]), st.sampled_from([None, 1, 5, 6]))
    return st.one_of(
        st.tuples(st.sampled_from(["filter", "filter", "exclude"]), conditions(paths)),
        expressions,
        several.map(lambda items: ("order", *items)),
        slices,
        st.sampled_from([("reverse",), ("distinct",)]),
        st.tuples(st.sampled_from(["values", "values_list"]), names).map(lambda s: (s[0], *s[1])),
        st.tuples(st.sampled_from(["only", "defer"]), columns).map(lambda s: (s[0], *s[1])),
        st.sampled_from([("select_related", name) for name in RELATED[model]] or [("distinct",)]),
    )


STEPS = {model: steps(model) for model in MODELS}


@st.composite
def pairs(draw: st.DrawFn) -> tuple[type[models.Model], Recipe, Recipe]:
    """Draw two recipes for one model, most often alike but for one step."""
    model = draw(st.sampled_from(list(MODELS)))
    step = STEPS[model]
    first = draw(st.lists(step, max_size=5))
    second = list(first)
    change = draw(
        st.sampled_from(
            ["value", "value", "sibling", "sibling", "replace", "insert", "remove", "swap", "none"]
        )
    )
    place = draw(st.integers(0, max(len(first) - 1, 0)))
    if change == "value" and first:
        second[place] = draw(other_value(first[place]))
    elif change == "sibling" and first:
        second[place] = draw(sibling(first[place]))
    elif change == "replace" and first:
        second[place] = draw(step)
    elif change == "insert":
        second.insert(place, draw(step))
    elif change == "remove" and first:
        del second[place]
    elif change == "swap" and first:
        second.append(second.pop(place))
    return model, tuple(first), tuple(second)


def sibling(step: Step) -> st.SearchStrategy[Step]:  # noqa: PLR0911  # one a kind
    """Return steps that look almost the same as this one."""
    match step:
        case ("filter", described):
            return st.just(("exclude", described))
        case ("exclude", described):
            return st.just(("filter", described))
        case ("annotate", name, path, value):
            return st.sampled_from(sorted(EXPRESSIONS)).map(
                lambda other: ("annotate", other, path, value)
            ) | st.just(("alias", name, path, value))
        case ("alias", name, path, value):
            return st.just(("annotate", name, path, value))
        case ("order", *items):
            kinds = st.sampled_from(sorted(ORDERINGS))
            return st.tuples(*[st.tuples(kinds, st.just(path)) for _, path in items]).map(
                lambda s: ("order", *s)
            )
        case ("only", *names):
            return st.just(("defer", *names))
        case (method, *names) if method in {"defer", "values", "values_list"}:
            return st.permutations(names).map(lambda other: (method, *other))
        case _:
            return st.just(step)


def other_value(described: Any) -> st.SearchStrategy[Any]:
    """Return strategies for `described` with its values drawn anew."""
    match described:
        case ("leaf", path, "isnull", bool()):
            return st.tuples(st.just("leaf"), st.just(path), st.just("isnull"), st.booleans())
        case ("leaf", path, lookup, _):
            return st.tuples(st.just("leaf"), st.just(path), st.just(lookup), st.sampled_from(CONFUSABLE))
        case (("annotate" | "alias") as method, name, path, _):
            return st.tuples(st.just(method), st.just(name), st.just(path), st.sampled_from(CONFUSABLE))
        case (("filter" | "exclude" | "not") as method, part):
            return st.tuples(st.just(method), other_value(part))
        case (("and" | "or" | "xor") as method, left, right):
            return st.tuples(st.just(method), other_value(left), st.just(right))
        case _:
            return st.just(described)
