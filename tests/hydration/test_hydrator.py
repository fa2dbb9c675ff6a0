from __future__ import annotations

import gc
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import FunctionType, ModuleType
from typing import Any

import pytest
from django.core.exceptions import FieldError
from django.db import connection, models
from django.db.models import Count, F, FilteredRelation, Max, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.fields.json import KeyTransform
from django.db.models.functions import Cast, Coalesce, Length, TruncDate, TruncMonth, Upper
from django.db.models.query import ModelIterable, ValuesIterable
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from perfkit.hydration import Hydrator, hydrator_for
from tests.hydration.comparison import hydrated, portrait, raw_rows
from tests.testapp.bulk import Car, Computed, Custom, Everything, Lonely, ProxyCity, Vehicle
from tests.testapp.caching import Building, Loud, Sample, Signpost, Tower
from tests.testapp.hydration import Speech, Square
from tests.testapp.loading import Book, Person, Profile, Review

pytestmark = pytest.mark.django_db

Read = Callable[[], QuerySet[Any]]


def all_related(queryset: QuerySet[Any]) -> QuerySet[Any]:
    queryset.query.select_related = True  # select_related() without names warns from Django 6.1 on
    return queryset


READS: dict[str, Read] = {
    "plain": Book.objects.all,
    "one relation": lambda: Book.objects.select_related("publisher"),
    "relations that are NULL": lambda: Book.objects.select_related("editor__mentor", "publisher"),
    "all relations": lambda: all_related(Review.objects.all()),
    "four levels": lambda: Review.objects.select_related("book__editor__mentor__mentor", "critic__mentor"),
    "reverse one-to-one": lambda: Person.objects.select_related("its_profile"),
    "reverse below forward": lambda: Review.objects.select_related("critic__its_profile"),
    "forward one-to-one": lambda: Profile.objects.select_related("person__mentor"),
    "filtered relation": lambda: Person.objects.annotate(
        home=FilteredRelation("its_profile", condition=Q(its_profile__city="Rome"))
    ).select_related("home"),
    "only": lambda: Book.objects.only("title"),
    "only the key": lambda: Book.objects.only("pk"),
    "defer": lambda: Book.objects.defer("title", "editor"),
    "defer all relations": lambda: Review.objects.defer("book", "critic"),
    "only across relations": lambda: Review.objects.select_related("book__publisher").only(
        "stars", "book__publisher__name"
    ),
    "defer across relations": lambda: Review.objects.select_related("book", "critic").defer(
        "stars", "book__title", "critic__mentor"
    ),
    "annotations": lambda: Book.objects.annotate(
        loud=Upper("title"), length=Length("title"), known=Value(7), author_count=Count("authors")
    ),
    "annotations and relations": lambda: Book.objects.select_related("publisher", "editor").annotate(
        best=Max("review__stars"), none=Value(None, output_field=models.IntegerField())
    ),
    "annotation that a property takes": lambda: Speech.objects.annotate(length=Length("text")),
    "extra": lambda: Book.objects.extra(select={"one": "1"}).select_related("publisher"),
    "subquery": lambda: Person.objects.annotate(
        best=Subquery(Review.objects.filter(critic=OuterRef("pk")).order_by("-stars").values("stars")[:1])
    ),
    "distinct with another order": lambda: Book.objects.order_by("publisher__name").distinct(),
    "union": lambda: Book.objects.filter(pk__lt=2).union(Book.objects.filter(pk__gte=2)),
    "nothing": Book.objects.none,
    "child": Car.objects.all,
    "child with deferred parent column": lambda: Car.objects.defer("wheels"),
    "children of a parent": lambda: Vehicle.objects.select_related("car"),
    "children of a parent, deferred": lambda: Vehicle.objects.select_related("car").only("car__vehicle_ptr"),
    "parent of a child": lambda: Tower.objects.select_related("building_ptr"),
    "cached parent": lambda: Building.objects.select_related("tower"),
    "proxy": lambda: ProxyCity.objects.select_related("country"),
    "key that is a relation": lambda: Signpost.objects.select_related("shelf"),
    "every type": lambda: Everything.objects.select_related("country"),
    "files and NULLs": lambda: Sample.objects.select_related("item"),
    "converted by its field": Custom.objects.all,
    "generated": Computed.objects.all,
    "nothing but a key": Lonely.objects.all,
    "composite key": Square.objects.all,
    "composite key, deferred": lambda: Square.objects.only("pk"),
    "own from_db": lambda: Loud.objects.select_related("speech__speaker"),
    "own from_db below": lambda: Speech.objects.select_related("loud", "speaker"),
    "own from_db below, deferred": lambda: Speech.objects.select_related("loud").only("text", "loud__id"),
    "converted annotations": lambda: Everything.objects.annotate(
        inner=KeyTransform("a", "document"),
        total=Coalesce("money", Value(0), output_field=models.DecimalField()),
        as_real=Cast("whole", models.FloatField()),
        latest=Subquery(Everything.objects.order_by("-moment").values("moment")[:1]),
        which=Coalesce("key", "key"),
        date=TruncDate("moment"),
    ),
    "values": Everything.objects.values,
    "values of relations": lambda: Book.objects.values("title", "editor__mentor__name", "editor_id"),
    "values with expressions": lambda: Book.objects.values("pk", loud=Upper("title")).annotate(n=Count("authors")),
    "values with extra": lambda: Book.objects.extra(select={"one": "1"}).values("title", "one"),
    "values, all, with extra": lambda: Book.objects.extra(select={"one": "1"}).annotate(two=Value(2)).values(),
    "values of composite key": lambda: Square.objects.values("piece", "pk", "row"),
    "values_list": lambda: Everything.objects.values_list("document", "span", "key"),
    "values_list of all": Everything.objects.values_list,
    "values_list of composite key": lambda: Square.objects.values_list("pk", "piece"),
    "flat": lambda: Everything.objects.values_list("document", flat=True),
    "flat composite key": lambda: Square.objects.values_list("pk", flat=True),
    "grouped": lambda: Book.objects.values("publisher").annotate(n=Count("pk")).order_by("n", "publisher"),
}  # fmt: skip


def in_order(read: Read) -> QuerySet[Any]:
    queryset = read()
    return queryset if queryset.query.order_by else queryset.order_by("pk")


@pytest.fixture(params=READS)
def queryset(request: pytest.FixtureRequest, library: None, oddities: None) -> QuerySet[Any]:
    read = READS[request.param]
    queryset = read() if request.param == "union" else in_order(read)
    assert list(queryset) or request.param == "nothing"
    return queryset


def test_it_yields_what_django_yields(queryset: QuerySet[Any]) -> None:
    hydrator, rows = raw_rows(queryset)
    expected = portrait(list(queryset.all()))

    assert portrait(hydrator(rows, connection)) == expected
    assert portrait(hydrator([list(row) for row in rows], connection)) == expected  # as a cache may give them


def copied(objects: list[Any]) -> list[Any]:
    copies: list[Any] = pickle.loads(pickle.dumps(objects))  # noqa: S301  # made one line above
    return copies


def test_it_yields_instances_that_equal_djangos_and_survive_pickling(queryset: QuerySet[Any]) -> None:
    ours, djangos = hydrated(queryset), list(queryset.all())

    assert ours == djangos
    assert portrait(copied(ours)) == portrait(copied(djangos))


def test_it_yields_instances_that_load_what_is_deferred_and_save(queryset: QuerySet[Any]) -> None:
    for ours, djangos in zip(hydrated(queryset), list(queryset.all()), strict=True):
        if not isinstance(ours, models.Model) or isinstance(ours, Computed):
            continue
        with CaptureQueriesContext(connection) as sent_by_ours:
            ours.save()
        with CaptureQueriesContext(connection) as sent_by_djangos:
            djangos.save()
        assert [query["sql"].split()[0] for query in sent_by_ours] == [
            query["sql"].split()[0] for query in sent_by_djangos
        ]
        for name in ours.get_deferred_fields():
            assert getattr(ours, name) == getattr(djangos, name)
        ours.refresh_from_db()
        djangos.refresh_from_db()
        assert portrait(ours) == portrait(djangos)


def test_it_says_the_database_it_is_told(library: None) -> None:
    hydrator, rows = raw_rows(Book.objects.select_related("publisher"))

    for book in hydrator(rows, connection, alias="replica"):
        assert book._state.db == book.publisher._state.db == "replica"


def test_it_serves_many_threads_and_other_parameters(library: None) -> None:
    def books_of(name: str) -> QuerySet[Book]:
        return Book.objects.filter(publisher__name__gt=name).select_related("editor").order_by("pk")

    hydrator, rows = raw_rows(books_of("house 0"))
    _, other_rows = raw_rows(books_of("house 1"))
    expected, other_expected = portrait(list(books_of("house 0"))), portrait(list(books_of("house 1")))

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda given: hydrator(given, connection), [rows, other_rows] * 20))

    assert [portrait(each) for each in made] == [expected, other_expected] * 20


def reachable(start: object) -> list[Any]:
    """Return everything that `start` keeps alive, apart from classes, modules and their names."""
    found: dict[int, Any] = {}
    waiting: list[Any] = [start]
    while waiting:
        each = waiting.pop()
        if id(each) in found or isinstance(each, type | ModuleType):
            continue
        found[id(each)] = each
        if isinstance(each, FunctionType):
            waiting += [each.__closure__, each.__defaults__, each.__dict__]
            if each.__code__.co_filename == "<string>":  # generated, with names of its own
                waiting.append(each.__globals__)
        else:
            waiting += gc.get_referents(each)
    return list(found.values())


def test_it_keeps_nothing_of_connection_compiler_or_parameters(library: None, oddities: None) -> None:
    queryset = Everything.objects.filter(short="é", document__a__isnull=False).select_related("country")
    hydrator, rows = raw_rows(queryset.annotate(known=Value(2), loud=Coalesce("money", "money")))
    hydrator(rows, connection)

    kept = reachable(hydrator)

    assert any(each is Everything._meta.get_field("document") for each in kept)
    kinds = {type(each) for each in kept}
    assert not kinds & {type(connection._connections), type(connection.ops), type(connection.features)}
    assert not any(issubclass(kind, models.sql.Query | models.sql.compiler.SQLCompiler) for kind in kinds)
    assert "é" not in kept


@pytest.mark.parametrize(
    "queryset",
    [
        Book.objects.values_list("title", named=True),
        Everything.objects.annotate(month=TruncMonth("moment")),
        Everything.objects.values_list(TruncMonth("moment"), flat=True),
    ],
    ids=["named tuples", "converted by a parameter", "one value, converted by a parameter"],
)
def test_it_leaves_to_django(queryset: QuerySet[Any]) -> None:
    compiler = queryset.query.get_compiler("default")
    compiler.as_sql()

    assert hydrator_for(compiler, queryset._iterable_class) is None


@pytest.mark.parametrize(
    ("queryset", "iterable_class"),
    [(Book.objects.all(), ValuesIterable), (Book.objects.values(loud=Upper("title")), ModelIterable)],
    ids=["columns without names", "no model"],
)
def test_it_leaves_to_django_what_does_not_fit_together(
    queryset: QuerySet[Any], iterable_class: type
) -> None:
    compiler = queryset.query.get_compiler("default")
    compiler.as_sql()

    assert hydrator_for(compiler, iterable_class) is None


def test_it_leaves_a_projects_own_iterable_to_django() -> None:
    class LoudIterable(ModelIterable):
        """A project's own."""

    compiler = Book.objects.all().query.get_compiler("default")
    compiler.as_sql()

    assert hydrator_for(compiler, LoudIterable) is None
    assert hydrator_for(compiler, ModelIterable) is not None


def test_it_is_not_made_from_a_compiler_that_has_not_compiled() -> None:
    compiler = Book.objects.all().query.get_compiler("default")

    for make in (hydrator_for, Hydrator):
        with pytest.raises(ValueError, match=r"as_sql\(\) first"):
            make(compiler, ModelIterable)


PATHS = ["book", "book__publisher", "book__editor", "book__editor__mentor", "critic", "critic__mentor",
         "critic__its_profile", "book__editor__its_profile"]  # fmt: skip
COLUMNS = ["stars", "book", "critic", "book__title", "book__publisher", "book__publisher__name",
           "book__editor__name", "critic__name", "critic__mentor", "critic__mentor__name",
           "critic__its_profile__city"]  # fmt: skip
ANNOTATIONS = {
    "double": F("stars") * 2,
    "title": Upper("book__title"),
    "authors": Count("book__authors"),
    "real": Cast("stars", models.FloatField()),
    "nothing": Value(None, output_field=models.JSONField()),
}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    paths=st.lists(st.sampled_from(PATHS), unique=True),
    only=st.lists(st.sampled_from(COLUMNS), unique=True),
    defer=st.lists(st.sampled_from(COLUMNS), unique=True, max_size=4),
    names=st.lists(st.sampled_from(sorted(ANNOTATIONS)), unique=True),
)
def test_it_yields_what_django_yields_whatever_is_combined(
    library: None, paths: list[str], only: list[str], defer: list[str], names: list[str]
) -> None:
    queryset = Review.objects.order_by("pk").annotate(**{name: ANNOTATIONS[name] for name in names})
    queryset = queryset.select_related(*paths) if paths else queryset
    queryset = queryset.only(*only) if only else queryset
    queryset = queryset.defer(*defer)
    try:
        expected = list(queryset.all())
    except FieldError:  # a relation cannot be both deferred and loaded
        reject()

    assert portrait(hydrated(queryset)) == portrait(expected)
