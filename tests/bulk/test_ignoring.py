"""`bulk_insert(ignore_conflicts=True)`: what meets a unique constraint is left out and counted, nothing else."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
from django.db import IntegrityError, transaction
from django.db.models import Value
from django.db.models.functions import Lower
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perfkit.bulk import RowDataError, bulk_insert, staging
from perfkit.errors import UsageError
from tests.bulk.everything import IS_POSTGRESQL
from tests.testapp.bulk import City, Country, Lonely, Stock

pytestmark = pytest.mark.django_db

ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "shop": st.none() | st.sampled_from("AB"),
            "sku": st.integers(0, 2),
            "note": st.none() | st.sampled_from(["x", "expression"]),
        }
    ),
    max_size=10,
)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    before=ROWS,
    rows=ROWS,
    chunk_rows=st.integers(1, 11),
    as_instances=st.booleans(),
    fewest_staged=st.sampled_from([1, 300]),
    on_error=st.sampled_from(["raise", "report"]),
)
def test_it_writes_what_bulk_create_would(
    before: list[dict[str, Any]],
    rows: list[dict[str, Any]],
    chunk_rows: int,
    as_instances: bool,
    fewest_staged: int,
    on_error: Any,
) -> None:
    def begin() -> None:
        Stock.objects.all().delete()
        Stock.objects.bulk_create([Stock(**row) for row in before], ignore_conflicts=True)

    begin()
    there = Stock.objects.count()
    Stock.objects.bulk_create([Stock(**row) for row in rows], ignore_conflicts=True)
    expected = sorted(map(repr, Stock.objects.values_list("shop", "sku", "note")))
    begin()
    sent = [
        row | ({"note": Lower(Value("EXPRESSION"))} if row["note"] == "expression" else {}) for row in rows
    ]
    with mock.patch.object(staging, "FEWEST_STAGED", fewest_staged):
        result = bulk_insert(
            Stock,
            iter([Stock(**row) for row in sent] if as_instances else sent),
            ignore_conflicts=True,
            chunk_rows=chunk_rows,
            on_error=on_error,
        )
    assert sorted(map(repr, Stock.objects.values_list("shop", "sku", "note"))) == expected
    assert (result.rows, result.ignored) == (len(expected) - there, len(rows) - len(expected) + there)


def test_any_unique_constraint_counts() -> None:
    there = Stock.objects.create(shop="A", sku=1)
    rows = [
        {"id": there.pk, "shop": "B", "sku": 1},
        {"id": there.pk + 1, "shop": "A", "sku": 1},
        {"shop": "C", "sku": 1},
    ]
    result = bulk_insert(Stock, rows, ignore_conflicts=True)
    assert (result.rows, result.ignored) == (1, 2)


@pytest.mark.django_db(transaction=True)
def test_other_constraints_are_not_ignored() -> None:
    Country.objects.create(code="PE")
    good = {"name": "a", "country_id": "PE"}
    for bad in ({"name": None, "country_id": "PE"}, {"name": "b", "country_id": "ZZ"}):
        with pytest.raises(IntegrityError):
            bulk_insert(City, [good, bad], ignore_conflicts=True)
    with pytest.raises(RowDataError) as caught:
        bulk_insert(City, [good, {"name": "x" * 30, "country_id": "PE"}], ignore_conflicts=True)
    assert caught.value.row_number == 1
    assert not City.objects.exists()


def test_rows_with_nothing_but_a_key() -> None:
    Lonely.objects.create(pk=1)
    result = bulk_insert(Lonely, [{"id": 1}, {"id": 2}], ignore_conflicts=True)
    assert (result.rows, result.ignored) == (1, 1)


def test_ids_cannot_be_told() -> None:
    with pytest.raises(UsageError, match="exclude each other"):
        bulk_insert(Stock, [], ignore_conflicts=True, return_ids=True)


@pytest.mark.skipif(not IS_POSTGRESQL, reason="PostgreSQL's staging")
def test_many_rows_go_by_few_statements() -> None:
    Stock.objects.create(shop="A", sku=7)
    with transaction.atomic():
        result = bulk_insert(Stock, [{"shop": "A", "sku": n} for n in range(2000)], ignore_conflicts=True)
    assert (result.rows, result.ignored, result.method) == (1999, 1, "staged")
