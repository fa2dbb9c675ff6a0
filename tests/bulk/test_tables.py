"""Tables of other makes: arrays and ranges, keys of several parts, other schemas, partitions, identity columns."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any
from unittest import mock

import pytest
from django.db import connection, models
from django.db.backends.postgresql.psycopg_any import DateRange, DateTimeTZRange, NumericRange
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perfkit.bulk import (
    RowDataError,
    RowIntegrityError,
    bulk_delete,
    bulk_insert,
    bulk_update,
    bulk_upsert,
    staging,
)
from tests.bulk.everything import ASCII_SAFE, IS_POSTGRESQL
from tests.testapp.bulk import Braced, City, Country, Listed, Seat

pytestmark = pytest.mark.django_db
only_postgresql = pytest.mark.skipif(not IS_POSTGRESQL, reason="PostgreSQL's")

DAYS = st.dates(dt.date(1, 1, 2), dt.date(9999, 12, 30))
MOMENTS = st.datetimes(dt.datetime(1, 1, 2), dt.datetime(9999, 12, 30), timezones=st.just(dt.UTC))  # noqa: DTZ001
WHOLE = st.integers(-1000, 1000)


def ranges(kind: Any, bounds: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    sides = st.lists(st.none() | bounds, min_size=2, max_size=2).map(
        lambda pair: sorted(pair) if None not in pair else pair
    )
    return st.builds(lambda pair: kind(*pair), sides)


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "numbers": st.lists(st.none() | st.integers(-(2**31), 2**31 - 1) | WHOLE.map(str), max_size=4),
    "words": st.lists(st.text(ASCII_SAFE, max_size=5) | st.sampled_from(["NULL", "{}", '"']), max_size=3),
    "grid": st.integers(1, 3).flatmap(
        lambda wide: st.lists(st.lists(WHOLE, min_size=wide, max_size=wide), min_size=1, max_size=3)
    ),
    "moments": st.lists(MOMENTS, max_size=2),
    "span": ranges(NumericRange, WHOLE),
    "days": ranges(DateRange, DAYS),
    "times": ranges(DateTimeTZRange, MOMENTS),
}


def stored(model: type[models.Model]) -> list[Any]:
    names = [field.attname for field in model._meta.concrete_fields if field.attname != "id"]
    return sorted(map(repr, model._default_manager.values_list(*names)))


@only_postgresql
@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
)
@given(
    rows=st.lists(
        st.fixed_dictionaries({}, optional={name: st.none() | each for name, each in VALUES.items()}),
        max_size=4,
    ),
    call=st.sampled_from(["insert", "upsert", "update"]),
)
def test_arrays_and_ranges_are_what_django_writes(rows: list[dict[str, Any]], call: str) -> None:
    rows = [row | {"code": str(number)} for number, row in enumerate(rows)]
    Listed.objects.all().delete()
    Listed.objects.bulk_create([Listed(**row) for row in rows])
    expected = stored(Listed)
    Listed.objects.all().delete()
    if call == "insert":
        method = bulk_insert(Listed, rows).method
    elif call == "upsert":
        method = bulk_upsert(Listed, rows, conflict_columns=["code"]).method
    else:
        there = Listed.objects.bulk_create([Listed(code=row["code"]) for row in rows])
        method = bulk_update(Listed, [(each.pk, row) for each, row in zip(there, rows, strict=True)]).method
    assert stored(Listed) == expected
    assert method in {"copy", "staged", "unnest", "staged+unnest", ""}


@only_postgresql
def test_arrays_that_cannot_be_are_refused_by_row() -> None:
    rows = [{"code": "a", "numbers": [1]}, {"code": "b", "numbers": [2**31]}]
    for refused in (
        rows,
        [rows[0], {"code": "b", "grid": [[1, 2], [3]]}],
        [rows[0], {"code": "b", "words": ["toolong"]}],
    ):
        with pytest.raises(RowDataError) as caught:
            bulk_insert(Listed, refused)
        assert caught.value.row_number == 1
        with pytest.raises(RowDataError) as caught:
            bulk_upsert(Listed, refused, conflict_columns=["code"])
        assert caught.value.row_number == 1
    assert not Listed.objects.exists()


@only_postgresql
def test_arrays_go_row_by_row_without_the_right_to_temporary_tables() -> None:
    with mock.patch.object(staging, "MAY_STAGE_SQL", "SELECT false"):
        result = bulk_upsert(Listed, [{"code": "a", "numbers": [1]}], conflict_columns=["code"])
    assert (result.created, result.method) == (1, "update")


@pytest.mark.parametrize("many", [3, 400])
def test_keys_of_two_parts(many: int) -> None:
    rows = [{"room": "A", "number": number} for number in range(many)]
    assert bulk_insert(Seat, rows).rows == many
    result = bulk_upsert(
        Seat,
        [*({**row, "taken_by": "Ann"} for row in rows[:2]), Seat(room="B", number=1)],
        conflict_columns=["room", "number"],
    )
    assert (result.created, result.updated) == (1, 2)
    told = bulk_upsert(
        Seat, [{"room": "A", "number": 0, "taken_by": "Bo"}], conflict_columns=["pk"], return_rows=True
    )
    assert [(row.pk, row.outcome) for row in told.returned or [] if row] == [(("A", 0), "updated")]
    changed = bulk_update(Seat, [(("A", 1), {"taken_by": "Cy"}), (("Z", 9), {"taken_by": "Cy"})])
    assert (changed.updated, changed.unmatched) == (1, 1)
    seat = Seat.objects.get(room="B")
    seat.taken_by = "Di"
    assert bulk_update(Seat, [seat], fields=["taken_by"]).updated == 1
    names = dict(Seat.objects.exclude(taken_by="nobody").values_list("taken_by", "number"))
    assert names == {"Bo": 0, "Cy": 1, "Di": 1}
    with pytest.raises(RowIntegrityError) as caught:
        bulk_insert(Seat, [{"room": "C", "number": 1}, {"room": "A", "number": 0}])
    assert caught.value.row_number == 1
    assert bulk_delete(Seat, Seat.objects.filter(room="A")).rows == many


@contextmanager
def table(name: str, sql: str) -> Iterator[type[models.Model]]:
    """Make a table, and a model that reads it."""
    with connection.cursor() as cursor:
        cursor.execute(sql)

    meta = type(
        "Meta",
        (),
        {"app_label": "nowhere", "db_table": name, "managed": False, "unique_together": [("code", "part")]},
    )
    fields = {
        "code": models.CharField(max_length=5),
        "part": models.IntegerField(),
        "count": models.IntegerField(default=0, db_column="Count all"),
    }
    yield type(f"Odd{next(NUMBERS)}", (models.Model,), {"__module__": __name__, "Meta": meta, **fields})


COLUMNS = 'id bigint GENERATED BY DEFAULT AS IDENTITY, code varchar(5), part int, "Count all" int'
NUMBERS = count(1)
ALWAYS = COLUMNS.replace("BY DEFAULT", "ALWAYS")
MAKES = {
    "another schema": (
        'far"."Odd table',
        f'CREATE SCHEMA far; CREATE TABLE far."Odd table" ({COLUMNS}, PRIMARY KEY (id), UNIQUE (code, part))',
    ),
    "partitions": (
        "odd_parts",
        f"""
        CREATE TABLE odd_parts ({COLUMNS}, UNIQUE (code, part)) PARTITION BY LIST (part);
        CREATE TABLE odd_1 PARTITION OF odd_parts FOR VALUES IN (1);
        CREATE TABLE odd_rest PARTITION OF odd_parts DEFAULT
        """,
    ),
    "identity always": (
        "odd_always",
        f"CREATE TABLE odd_always ({ALWAYS}, PRIMARY KEY (id), UNIQUE (code, part))",
    ),
}


@only_postgresql
@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize("fewest_staged", [1, 300])
def test_tables_of_other_makes(make: str, fewest_staged: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "FEWEST_STAGED", fewest_staged)
    name, sql = MAKES[make]
    with table(name, sql) as model:
        rows = [{"code": str(number % 5), "part": number // 5} for number in range(20)]
        assert bulk_insert(model, rows).rows == 20
        ids = bulk_insert(model, [{"code": "x", "part": 1}], return_ids=make != "identity always").ids
        result = bulk_upsert(
            model,
            [{"code": "x", "part": 1, "count": 3}, {"code": "y", "part": 1}],
            conflict_columns=["code", "part"],
        )
        assert (result.created, result.updated) == (1, 1)
        pk = model._default_manager.get(code="x").pk
        if make != "identity always":
            assert ids == [pk]
            told = bulk_upsert(
                model, [{"code": "x", "part": 1}], conflict_columns=["code", "part"], return_rows=True
            )
            assert [row.pk for row in told.returned or [] if row] == [pk]
        assert bulk_update(model, [(pk, {"count": 8})]).updated == 1
        assert list(model._default_manager.filter(count=8).values_list("code", "part")) == [("x", 1)]
        with pytest.raises(RowIntegrityError) as caught:
            bulk_insert(model, [{"code": "z", "part": 1}, {"code": "x", "part": 1}])
        assert caught.value.row_number == 1
        assert bulk_delete(model, model._default_manager.all()).rows == 22


def test_foreign_keys_to_a_key_that_is_text(countries: None) -> None:
    rows = [{"name": f"n{number}", "country_id": "PE"} for number in range(1000)]
    assert bulk_insert(City, rows).rows == 1000
    assert (
        bulk_upsert(City, rows, conflict_columns=["name", "country"], skip_unchanged=True).untouched == 1000
    )
    assert Country.objects.count() == 2


@pytest.mark.parametrize("return_rows", [False, True])
@pytest.mark.parametrize("many", [2, 400])
def test_names_with_braces(many: int, return_rows: bool) -> None:
    bulk_insert(Braced, [{"code": "0"}])
    rows = [{"code": str(number), "name": "new"} for number in range(many)]
    result = bulk_upsert(Braced, rows, conflict_columns=["code"], return_rows=return_rows)
    assert (result.created, result.updated) == (many - 1, 1)
    updates = [(pk, {"name": "newer"}) for pk in Braced.objects.values_list("pk", flat=True)]
    assert bulk_update(Braced, updates).updated == many
    assert Braced.objects.filter(name="newer").count() == many
