"""Each search by each index, said and then shown: what is called served, PostgreSQL finds by the index."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import connection, models
from django.db.models.functions import Upper

from perfkit.admin.declared_indexes import declared_indexes
from perfkit.admin.search_advice import unserved
from perfkit.admin.searched_columns import Searched, searched
from perfkit.postgres.table_indexes import table_indexes
from tests.testapp.large import Rack, Tome

INDEXES: dict[str, Any] = {
    "none": None,
    "plain": models.Index(fields=["title"], name="tome_search"),
    "upper": models.Index(Upper("title"), name="tome_search"),
    "pattern": models.Index(fields=["title"], opclasses=["varchar_pattern_ops"], name="tome_search"),
    "upper pattern": models.Index(OpClass(Upper("title"), name="text_pattern_ops"), name="tome_search"),
    "trigrams": GinIndex(fields=["title"], opclasses=["gin_trgm_ops"], name="tome_search"),
    "upper trigrams": GinIndex(OpClass(Upper("title"), name="gin_trgm_ops"), name="tome_search"),
    "second": models.Index(fields=["kind", "title"], name="tome_search"),
    "partial": models.Index(fields=["title"], name="tome_search", condition=models.Q(rank=1)),
}

SERVED = {
    "title__exact": {"plain", "pattern", "trigrams"},
    "=title": {"upper", "upper pattern", "upper trigrams"},
    "title__startswith": {"pattern", "trigrams"},
    "^title": {"upper pattern", "upper trigrams"},
    "title__contains": {"trigrams"},
    "title": {"upper trigrams"},
}

TERMS = {"^": "istartswith", "=": "iexact"}


def column(given: str, model: Any = Tome) -> Searched:
    found = searched(model, given)
    assert found is not None
    return found


def problems(*given: str, model: Any = Tome) -> list[str]:
    columns = [column(each, model) for each in given]
    found = unserved(columns, {each.model: declared_indexes(each.model) for each in columns})
    return [f"{each.problem}: {each.advice}" for each in found]


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch) -> Any:
    def declare(index: Any) -> None:
        monkeypatch.setattr(Tome._meta, "indexes", [] if index is None else [index])

    return declare


@pytest.mark.parametrize("given", SERVED)
@pytest.mark.parametrize("name", INDEXES)
class TestDeclared:
    def test_it_knows_which_index_serves_a_search(self, given: str, name: str, declare: Any) -> None:
        declare(INDEXES[name])
        assert (problems(given) == []) is (name in SERVED[given])


@pytest.mark.postgres
@pytest.mark.django_db
@pytest.mark.parametrize("given", SERVED)
@pytest.mark.parametrize("name", INDEXES)
class TestInTheDatabase:
    def test_it_says_what_the_database_does(self, given: str, name: str) -> None:
        found = column(given)
        with connection.cursor() as cursor:
            cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
            cursor.execute("SET LOCAL enable_seqscan = off")
        if INDEXES[name] is not None:
            with connection.schema_editor(atomic=False) as editor:
                editor.add_index(Tome, INDEXES[name])
        said = unserved([found], {Tome: table_indexes(connection, "testapp_tome")}) == []
        plan = Tome.objects.order_by().filter(**{f"title__{found.lookup}": "abc"}).explain()
        if name == "second":  # PostgreSQL 18 skips through the values of the first column
            assert not said
        else:
            assert said is ("tome_search" in plan), plan


def test_it_advises_the_index_that_serves(declare: Any) -> None:
    """What is advised, declared, leaves nothing to advise."""
    names = {"Index": models.Index, "GinIndex": GinIndex, "OpClass": OpClass, "Upper": Upper}
    for given in SERVED:
        declare(None)
        (problem,) = problems(given)
        advice = problem.partition("Add ")[2].partition(" to testapp.Tome.Meta.indexes")[0]
        index = eval(advice, names)  # noqa: S307  # our own words
        assert len(index.name) <= 30
        declare(index)
        assert problems(given) == []


def test_it_tells_what_is_compared_and_which_index_would_serve() -> None:
    (contains,) = problems("title")
    assert contains == (
        'title (containing): Add GinIndex(OpClass(Upper("title"), name="gin_trgm_ops"), '
        'name="tome_title_search") to testapp.Tome.Meta.indexes, after TrigramExtension().'
    )
    (words,) = problems("@title")
    assert 'SearchVector("title"' in words
    (cast,) = problems("rank")
    assert "no text" in cast


def test_it_wants_every_column_of_a_search_served() -> None:
    assert problems("code__startswith", "code__exact", "=nickname") == []
    (problem,) = problems("code__startswith", "title__exact")
    assert problem.startswith("title (equal)")


def test_it_finds_no_index_over_tables() -> None:
    assert problems("rack__label__startswith") == []
    (problem,) = problems("code__exact", "rack__label__startswith")
    assert problem.startswith("code, rack__label are columns of several tables")


def test_it_does_not_judge_what_it_does_not_know() -> None:
    assert problems("title__regex") == []


def test_it_looks_into_the_parents_tables() -> None:
    assert problems("label__exact", model=Rack) == []


@pytest.mark.postgres
@pytest.mark.django_db
def test_it_finds_words_by_their_index() -> None:
    found = [column("@title")]
    assert unserved(found, {Tome: table_indexes(connection, "testapp_tome")})
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE INDEX ON testapp_tome USING gin (to_tsvector('english'::regconfig, COALESCE(title, '')))"
        )
    assert unserved(found, {Tome: table_indexes(connection, "testapp_tome")}) == []
