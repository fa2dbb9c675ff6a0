"""Rows that are spread over several tables, by multi-table inheritance."""

from __future__ import annotations

import datetime
import io
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perfkit.bulk import (
    RowDataError,
    RowIntegrityError,
    abulk_insert,
    bulk_copy_out,
    bulk_delete,
    bulk_insert,
    bulk_update,
    bulk_upsert,
)
from perfkit.bulk.inherited import tables
from tests.testapp.bulk import Car, City, Named, Taxi, Vehicle

pytestmark = pytest.mark.django_db

rows_of_taxis = st.lists(
    st.fixed_dictionaries(
        {"wheels": st.integers(-(2**15), 2**15 - 1), "doors": st.integers(0, 9)},
        optional={"fare": st.decimals(0, 999, places=2), "rank": st.integers(0, 99)},
    ),
    max_size=12,
)


def taxi(number: int, **values: Any) -> dict[str, Any]:
    return {"wheels": 4, "doors": 3, "name": f"taxi {number}", **values}


def shown() -> list[tuple[Any, ...]]:
    return list(
        Taxi.objects.order_by("name").values_list("name", "wheels", "doors", "fare", "rank", "trailer")
    )


def counts() -> tuple[int, ...]:
    return tuple(model.objects.count() for model in (Vehicle, Car, Named, Taxi))


def test_parents_come_before_their_children() -> None:
    assert tables(Taxi) == [Vehicle, Car, Named, Taxi]
    assert tables(Car) == [Vehicle, Car]
    assert tables(City) == [City]


@given(rows=rows_of_taxis)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_it_writes_what_save_writes(rows: list[dict[str, Any]], db: None) -> None:
    named = [{**row, "name": str(number)} for number, row in enumerate(rows)]
    bulk_delete(Taxi, Taxi.objects.all())  # of the example before
    for row in named:
        Taxi(**row).save()
    saved = shown()
    assert bulk_delete(Taxi, Taxi.objects.all()).rows == len(rows)
    assert counts() == (0, 0, 0, 0)
    assert bulk_insert(Taxi, named).rows == len(rows)
    assert shown() == saved
    assert counts() == (len(rows),) * 4


def test_it_takes_a_statement_for_each_table() -> None:
    with CaptureQueriesContext(connection) as captured:
        bulk_insert(Taxi, [taxi(number) for number in range(200)], chunk_rows=200)
    inserts = [query["sql"] for query in captured if query["sql"].startswith("INSERT")]
    assert 4 <= len(inserts) <= 8  # SQLite takes fewer parameters at once
    assert counts() == (200,) * 4


def test_instances_and_the_result_have_the_keys() -> None:
    instances = [Taxi(**taxi(1)), Taxi(**taxi(2, named_id=70, id=80))]
    result = bulk_insert(Taxi, [*instances, taxi(3)], return_ids=True, explain=True)
    first, second, third = Taxi.objects.order_by("name")
    assert result.ids == [first.pk, second.pk, third.pk]
    assert (second.pk, second.named_id) == (80, 70)
    assert result.slow_columns == {"(rows)": "the rows are spread over several tables"}
    assert instances == [first, second]
    assert [each.named_id for each in instances] == [first.named_id, 70]
    assert instances[0].rank == 7
    assert isinstance(instances[0].seen_at, datetime.datetime)
    assert not instances[0]._state.adding
    instances[0].doors = 5
    instances[0].save()
    assert Taxi.objects.get(pk=first.pk).doors == 5


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        ({"name": "taxi 0"}, RowIntegrityError),
        ({"wheels": "many"}, RowDataError),
        ({"name": "x" * 11}, RowDataError),
    ],
)
def test_a_bad_row_is_named_and_nothing_is_written(bad: dict[str, Any], error: type[Exception]) -> None:
    rows = [taxi(number) for number in range(6)]
    rows[4].update(bad)
    with pytest.raises(error) as caught:
        bulk_insert(Taxi, rows)
    assert caught.value.row_number == 4  # type: ignore[attr-defined]
    assert counts() == (0, 0, 0, 0)
    result = bulk_insert(Taxi, rows, on_error="report")
    assert [skipped.row_number for skipped in result.skipped] == [4]
    assert counts() == (5,) * 4


def test_rows_that_are_there_are_ignored() -> None:
    bulk_insert(Taxi, [taxi(1)])
    result = bulk_insert(Taxi, [taxi(1, doors=9), taxi(2)], ignore_conflicts=True)
    assert (result.rows, result.ignored) == (1, 1)
    assert [(name, doors) for name, _, doors, *_ in shown()] == [("taxi 1", 3), ("taxi 2", 3)]
    assert counts() == (2,) * 4


def test_it_updates_every_table() -> None:
    ids = bulk_insert(Taxi, [taxi(number) for number in range(5)], return_ids=True).ids
    assert ids is not None
    result = bulk_update(
        Taxi,
        [
            (ids[0], {"wheels": 6}),
            (ids[1], {"doors": 5, "fare": Decimal("9.50")}),
            (ids[2], {"wheels": F("wheels") + 1, "name": "other", "rank": 1}),
            (ids[4] + 1, {"wheels": 1}),
        ],
    )
    assert (result.rows, result.updated, result.unmatched) == (4, 3, 1)
    found = {row.pk: row for row in Taxi.objects.all()}
    assert found[ids[0]].wheels == 6
    assert (found[ids[1]].doors, found[ids[1]].fare) == (5, Decimal("9.50"))
    assert (found[ids[2]].wheels, found[ids[2]].name, found[ids[2]].rank) == (5, "other", 1)
    assert (found[ids[3]].wheels, found[ids[3]].name) == (4, "taxi 3")
    instances = list(Taxi.objects.order_by("pk"))
    for row in instances:
        row.doors, row.wheels = 2, 8
    assert bulk_update(Taxi, instances, fields=["doors", "wheels"]).updated == 5
    assert set(Taxi.objects.values_list("doors", "wheels")) == {(2, 8)}


def test_it_upserts_by_a_key_of_a_parent_and_by_its_own() -> None:
    bulk_insert(Taxi, [taxi(1)])
    first = Taxi.objects.get()
    result = bulk_upsert(Taxi, [taxi(1, doors=5, wheels=6), taxi(2)], conflict_columns=["name"])
    assert (result.created, result.updated) == (1, 1)
    assert [(name, wheels, doors) for name, wheels, doors, *_ in shown()] == [
        ("taxi 1", 6, 5),
        ("taxi 2", 4, 3),
    ]
    result = bulk_upsert(
        Taxi,
        [{"pk": first.pk, **taxi(1, doors=1)}],
        conflict_columns=["pk"],
        update_columns=["doors"],
        return_rows=True,
    )
    assert result.returned is not None
    assert [(row.pk, row.outcome) for row in result.returned if row] == [(first.pk, "updated")]
    assert Taxi.objects.get(pk=first.pk).doors == 1
    assert counts() == (2,) * 4


def test_relations_are_served() -> None:
    trailer = Vehicle.objects.create(wheels=2)
    bulk_insert(Taxi, [taxi(1, trailer=trailer), taxi(2, trailer_id=trailer.pk)])
    assert Taxi.objects.filter(trailer=trailer).count() == 2


def test_it_copies_out_what_the_tables_hold() -> None:
    bulk_insert(Car, [{"wheels": 4, "doors": 3}])
    out = io.BytesIO()
    bulk_copy_out(Car.objects.all(), out)
    head, row = out.getvalue().decode().split()
    assert (
        dict(zip(head.split(","), row.split(","), strict=True)).items()
        >= {"wheels": "4", "doors": "3"}.items()
    )


@pytest.mark.django_db(transaction=True)
def test_it_is_there_for_async_code() -> None:
    from asgiref.sync import async_to_sync

    assert async_to_sync(abulk_insert)(Car, [{"wheels": 4, "doors": 3}]).rows == 1
    assert Car.objects.get().wheels == 4
