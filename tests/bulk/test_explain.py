"""`explain=True`: which columns took a slower way, and why."""

from __future__ import annotations

from typing import Any

import pytest
from django.db.models import F, Value
from django.db.models.functions import Upper

from perfkit.bulk import bulk_insert, bulk_update, bulk_upsert
from tests.testapp.bulk import City, Custom, Lonely, Stock

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("countries")]


def explained(call: Any, *args: Any, **options: Any) -> Any:
    return call(*args, explain=True, **options).slow_columns


def test_nothing_is_said_where_all_went_fast_or_nobody_asked() -> None:
    rows = [{"name": "a", "country_id": "PE", "population": 1}]
    assert explained(bulk_insert, City, rows) == {}
    assert explained(bulk_upsert, City, rows, conflict_columns=["name", "country"]) == {}
    assert explained(bulk_update, City, [(City.objects.get().pk, {"population": 2})]) == {}
    assert bulk_insert(City, []).slow_columns is None


def test_values_of_another_type_are_named() -> None:
    rows = [{"shop": "A", "sku": "1", "amount": 2.0}, {"shop": "B", "sku": 1, "amount": True}]
    assert explained(bulk_insert, Stock, rows) == {
        "sku": "values of str: Django's field sees each of them",
        "amount": "values of bool, float: Django's field sees each of them",
    }


def test_a_field_with_methods_of_its_own_is_named() -> None:
    assert explained(bulk_insert, Custom, [{"name": "a", "price": 1.5}]) == {
        "price": "CentsField prepares its values itself: it sees each of them"
    }


def test_expressions_are_named() -> None:
    stock = Stock.objects.create(shop="A", sku=1)
    said = {"note": "an expression: Django writes these chunks"}
    row = {"shop": "A", "sku": 2, "note": Upper(Value("a"))}
    assert explained(bulk_insert, Stock, [row]) == said
    assert explained(bulk_upsert, Stock, [row], conflict_columns=["shop", "sku"]) == said
    changes = [(stock.pk, {"amount": F("amount") + 1})]
    assert explained(bulk_update, Stock, changes) == {"amount": said["note"]}


def test_rows_without_a_column_are_named() -> None:
    assert explained(bulk_insert, Lonely, [{}]) == {
        "(rows)": "nothing but the next number of a sequence: Django writes these chunks"
    }


def test_a_call_within_a_call_has_notes_of_its_own() -> None:
    inner: list[Any] = []

    def rows() -> Any:
        inner.append(explained(bulk_insert, Stock, [{"shop": "A", "sku": "1"}]))
        bulk_insert(Stock, [{"shop": "B", "sku": "1"}])
        yield {"name": "a", "country_id": "PE"}

    assert explained(bulk_insert, City, rows()) == {}
    assert inner == [{"sku": "values of str: Django's field sees each of them"}]
