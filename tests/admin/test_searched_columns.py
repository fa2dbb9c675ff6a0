from __future__ import annotations

import django
import pytest
from django.contrib import admin
from django.db.models import Q

from perfkit.admin.searched_columns import Access, compared_columns, searched
from tests.testapp.large import Hall, Rack, Tome


@pytest.mark.parametrize(
    ("given", "path", "column", "lookup", "access", "is_upper"),
    [
        ("title", "title", "title", "icontains", Access.SUBSTRING, True),
        ("^title", "title", "title", "istartswith", Access.PREFIX, True),
        ("=title", "title", "title", "iexact", Access.EQUAL, True),
        ("@title", "title", "title", "search", Access.WORDS, False),
        ("title__startswith", "title", "title", "startswith", Access.PREFIX, False),
        ("title__exact", "title", "title", "exact", Access.EQUAL, False),
        ("title__regex", "title", "title", "regex", None, False),
        ("^rack__hall__name", "rack__hall__name", "name", "istartswith", Access.PREFIX, True),
        ("rack__label__contains", "rack__label", "label", "contains", Access.SUBSTRING, False),
    ],
)
def test_it_reads_search_fields_as_django_does(
    given: str, path: str, column: str, lookup: str, access: Access | None, is_upper: bool
) -> None:
    found = searched(Tome, given)
    assert found is not None
    assert (found.path, found.field.column, found.lookup) == (path, column, lookup)
    assert (found.access, found.is_upper, found.is_cast) == (access, is_upper, False)


def test_it_knows_whose_column_it_is() -> None:
    models = [
        found.model
        for given in ("title", "rack__label", "rack__hall__name")
        if (found := searched(Tome, given))
    ]
    assert models == [Tome, Rack, Hall]


def test_it_knows_what_is_made_a_text_first() -> None:
    rank, exact, key = (searched(Tome, given) for given in ("rank", "rank__exact", "pk__exact"))
    assert rank
    assert rank.is_cast
    assert exact
    assert key
    assert exact.is_cast is key.is_cast is (django.VERSION < (6, 1))
    assert key.field.name == "id"


@pytest.mark.parametrize("given", ["nowhere", "marginals", "nowhere__title"])
def test_it_finds_no_column_where_there_is_none(given: str) -> None:
    assert searched(Tome, given) is None


def test_it_asks_nothing_of_an_admin_that_searches_by_itself() -> None:
    class Own(admin.ModelAdmin):
        def get_search_results(
            self, request: object, queryset: object, search_term: str
        ) -> tuple[object, bool]:
            return Tome.objects.filter(Q(title=search_term)), False

    assert compared_columns(Own(Tome, admin.site), ["title"]) == []
    assert len(compared_columns(admin.ModelAdmin(Tome, admin.site), ["title", "nowhere"])) == 1
