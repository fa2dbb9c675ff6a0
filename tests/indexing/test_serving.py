"""Which declared index serves what: without a database, and then against PostgreSQL's own plans."""

from __future__ import annotations

import pytest
from django.db import connection
from django.db.models import Model

from perfkit.api import Filters, Search
from perfkit.indexing.declared import declared_indexes
from perfkit.indexing.serving import (
    OrderKey,
    lookup_index,
    order_index,
    served_orders,
    suggested_lookup,
    suggested_order,
)
from project.flights.models import Airport, Flight
from tests.testapp.models import Cabin, Indexed, Item, ProxyItem


def order(text: str) -> list[OrderKey]:
    """Return an order as text has it: `-a` descending, `a<` and `a>` with NULLs first and last."""
    nulls = {"<": True, ">": False}
    return [
        OrderKey(each.strip("-<>"), each.startswith("-"), nulls.get(each[-1])) for each in text.split(",")
    ]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("id", "primary key of id"),
        ("-pk", "primary key of id"),
        ("code", "unique of code"),
        ("member_id", "db_index of member"),
        ("depth,bare", "depth_bare"),
        ("-depth,-bare", "depth_bare"),
        ("-depth", "depth_bare"),
        ("made,-depth", "made_depth"),
        ("-made,depth", "made_depth"),
        ("-height>", "height_last"),
        ("-height>,id", "height_last"),
        ("height<", "height_last"),
        ("width", "width"),
        ("width>", "width"),
        ("-width", "width"),
        ("-width<", "width"),
        # none
        ("depth,-bare", None),
        ("made,depth", None),
        ("bare", None),
        ("bare,depth", None),
        ("height>", None),
        ("-height<", None),
        ("-height", None),
        ("width<", None),
        ("-width>", None),
        ("plate", None),  # of patterns, not of the language's order
        ("rough", None),
        ("tags", None),
        ("title", None),
        ("member", None),  # as members are sorted
        ("loose_id", None),
        ("member__surname", None),
        ("nothing", None),
        ("id,made", None),
    ],
)
def test_it_knows_what_sorts(text: str, name: str | None) -> None:
    found = order_index(Indexed, order(text))
    assert (found and found.name) == name


@pytest.mark.parametrize(
    ("path", "lookup", "name"),
    [
        ("code", "exact", "unique of code"),
        ("code", "startswith", "unique of code"),
        ("slug", "startswith", "db_index of slug"),
        ("pk", "in", "primary key of id"),
        ("member", "exact", "db_index of member"),
        ("member_id", "in", "db_index of member"),
        ("member__id", "exact", "db_index of member"),
        ("member__pk", "exact", "db_index of member"),
        ("badge__number", "exact", "unique of number"),
        ("badge__owner", "exact", "unique of owner"),
        ("made", "gte", "made_depth"),
        ("made", "isnull", "made_depth"),
        ("depth", "lt", "depth_bare"),
        ("rough", "gte", "rough_brin"),
        ("plate", "exact", "plate_patterns"),
        ("plate", "startswith", "plate_patterns"),
        ("gone", "isnull", "made_not_gone"),
        ("title", "contains", "title_trigrams"),
        ("title", "ilike_contains", "title_trigrams"),
        ("title", "startswith", "title_trigrams"),
        ("heading", "icontains", "heading_upper_trigrams"),
        ("tags", "contains", "tags_gin"),
        ("tags", "has_key", "tags_gin"),
        # none
        ("bare", "exact", None),
        ("loose", "exact", None),
        ("loose__id", "exact", None),
        ("member__surname", "exact", None),
        ("width", "year", None),
        ("made", "date__gte", None),
        ("made", "year", None),
        ("plate", "gte", None),
        ("title", "icontains", None),
        ("title", "gte", None),
        ("heading", "contains", None),
        ("heading", "ilike_contains", None),
        ("code", "contains", None),
        ("code", "iexact", None),
        ("tags", "exact", None),
        ("gone", "gte", None),
        ("nothing", "exact", None),
        ("bare__nothing", "exact", None),
    ],
)
def test_it_knows_what_finds(path: str, lookup: str, name: str | None) -> None:
    found = lookup_index(Indexed, path, lookup)
    assert (found and found.name) == name


def test_a_partial_index_serves_one_of_the_two() -> None:
    assert lookup_index(Indexed, "gone", "isnull", True)
    assert not lookup_index(Indexed, "gone", "isnull", False)


@pytest.mark.parametrize("model", [Cabin, ProxyItem])
def test_it_looks_at_the_table_in_which_a_column_is(model: type[Model]) -> None:
    assert lookup_index(model, "pk", "exact")
    assert lookup_index(model, "id", "exact") in declared_indexes(Item)
    assert order_index(model, order("-id")) in declared_indexes(Item)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("bare", 'models.Index(fields=["bare"], name=…)'),
        ("made,depth", 'models.Index(fields=["made", "depth"], name=…)'),
        ("-loose_id,made", 'models.Index(fields=["-loose", "made"], name=…)'),
        ("height>", 'models.Index(fields=["height"], name=…)'),
        ("height<", 'PortableIndex(F("height").asc(nulls_first=True), name=…)'),
        ("-width>,bare", 'PortableIndex(F("width").desc(nulls_last=True), F("bare").asc(), name=…)'),
        ("member__surname", ""),
    ],
)
def test_it_says_which_index_would_sort(text: str, advice: str) -> None:
    assert suggested_order(Indexed, order(text)) == advice


@pytest.mark.parametrize(
    ("path", "lookup", "advice"),
    [
        ("bare", "gte", 'models.Index(fields=["bare"], name=…)'),
        ("motto", "ilike_contains", 'GinIndex(fields=["motto"], opclasses=["gin_trgm_ops"], name=…)'),
        ("title", "icontains", 'GinIndex(OpClass(Upper("title"), name="gin_trgm_ops"), name=…)'),
        ("title", "startswith", 'models.Index(fields=["title"], opclasses=["text_pattern_ops"], name=…)'),
        ("made", "date", ""),
        ("member__surname", "exact", ""),
    ],
)
def test_it_says_which_index_would_find(path: str, lookup: str, advice: str) -> None:
    assert suggested_lookup(Indexed, path, lookup) == advice


def test_it_lists_orders_of_some_columns() -> None:
    found = list(served_orders(Indexed, ["made", "depth", "height"]))
    assert (("made", False), ("depth", True)) in found
    assert (("made", True), ("depth", False)) in found
    assert (("depth", False),) in found
    assert not any("bare" in dict(each) for each in found)


@pytest.mark.postgres
@pytest.mark.django_db
@pytest.mark.parametrize(
    ("model", "filters", "index"),
    [
        (Airport, Filters.for_model(Airport, {"q": Search("name")})(q="dy In"), "airport_name_trigrams"),
        (Flight, Filters.for_model(Flight, {"q": "plane_id"})(q="N500"), "flight_plane_time"),
        (Flight, Filters.for_model(Flight, {"q": "dep_time__isnull"})(q=True), "flight_cancelled"),
        (Flight, Filters.for_model(Flight, {"q": "dep_delay__gte"})(q=60), "flight_dep_delay"),
        (Flight, Filters.for_model(Flight, {"q": "tailnum__startswith"})(q="N1"), "flight_tailnum"),
    ],
)
def test_postgresql_uses_the_index_that_it_names(model: type[Model], filters: Filters, index: str) -> None:
    (declared,) = type(filters)._declared.values()
    (one,) = declared.conditions
    found = lookup_index(model, one.base, one.lookup, filters.q)  # type: ignore[attr-defined]  # made here
    assert found is not None
    assert found.name == index
    with connection.cursor() as cursor:
        # An empty table would be read from its beginning, by whatever index.
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_indexscan = off")
    assert index in filters.filter(model.objects.all()).explain()
