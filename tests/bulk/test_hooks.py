"""`after_chunk`: called with the rows of each chunk, within the transaction, once they are in the table."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, connection

from perfkit.bulk import bulk_insert, bulk_update, bulk_upsert
from tests.testapp.bulk import City, Country

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def country(transactional_db: None) -> None:
    Country.objects.create(code="PE")


def rows(count: int) -> list[Any]:
    return [City(name=f"n{number}", country_id="PE") for number in range(count)]


@pytest.mark.parametrize("on_error", ["raise", "report"])
def test_rows_are_there_and_uncommitted_when_it_is_called(on_error: Any) -> None:
    seen: list[tuple[int, int, bool]] = []

    def hook(chunk: list[Any]) -> None:
        seen.append((len(chunk), City.objects.count(), connection.in_atomic_block))

    bulk_insert(City, rows(5), chunk_rows=2, on_error=on_error, after_chunk=hook)
    assert seen == [(2, 2, True), (2, 4, True), (1, 5, True)]


def test_instances_have_their_keys_where_they_are_asked_for() -> None:
    keys: list[int] = []
    result = bulk_insert(
        City,
        rows(5),
        chunk_rows=2,
        return_ids=True,
        after_chunk=lambda chunk: keys.extend(each.pk for each in chunk),
    )
    assert keys == result.ids


def test_updates_and_upserts_have_it_too() -> None:
    told: list[Any] = []
    bulk_upsert(City, rows(3), conflict_columns=["name", "country"], chunk_rows=2, after_chunk=told.append)
    assert [len(chunk) for chunk in told] == [2, 1]
    pairs = [(pk, {"population": 1}) for pk in City.objects.values_list("pk", flat=True)]
    bulk_update(City, pairs, after_chunk=told.append)
    assert told[2] == pairs


@pytest.mark.parametrize("on_error", ["raise", "report"])
def test_its_errors_end_the_call(on_error: Any) -> None:
    def hook(chunk: list[Any]) -> None:
        if City.objects.count() > 2:
            raise IntegrityError("of its own")

    with pytest.raises(IntegrityError, match="of its own"):
        bulk_insert(City, rows(5), chunk_rows=2, on_error=on_error, after_chunk=hook)
    assert City.objects.count() == (0 if on_error == "raise" else 2)


def test_it_is_told_of_the_rows_that_were_written_alone() -> None:
    told: list[str] = []
    bad = [*rows(3), City(name=None, country_id="PE"), City(name="last", country_id="PE")]
    bulk_insert(
        City, bad, on_error="report", after_chunk=lambda chunk: told.extend(each.name for each in chunk)
    )
    assert told == ["n0", "n1", "n2", "last"]
