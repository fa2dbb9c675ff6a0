from __future__ import annotations

import gc
import pickle
from concurrent.futures import ThreadPoolExecutor
from types import FunctionType, ModuleType
from typing import Any

import pytest
from django.core.exceptions import FieldError
from django.db import connection, models
from django.db.models import Count, F, QuerySet, Value
from django.db.models.functions import Cast, Coalesce, TruncMonth, Upper
from django.db.models.query import ModelIterable, ValuesIterable
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from perfkit.hydration import Hydrator, hydrator_for
from tests.hydration.comparison import hydrated, portrait, raw_rows
from tests.testapp.bulk import Computed, Everything
from tests.testapp.loading import Book, Review

pytestmark = pytest.mark.django_db


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
