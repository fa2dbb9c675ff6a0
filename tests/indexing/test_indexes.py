from __future__ import annotations

import pytest
from django.db.models import F, Index

from perfkit.indexing import AddIndexSafely, PortableIndex
from tests.indexing.tables import Table


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (F("weight").desc(nulls_last=True), '"weight" DESC'),
        (F("weight").asc(nulls_first=True), '"weight" ASC'),
        (F("weight").desc(), '"weight" DESC'),
    ],
)
def test_it_leaves_out_the_words_that_sqlite_refuses(sqlite_table: Table, order: F, words: str) -> None:
    operation = AddIndexSafely("parcel", PortableIndex(order, "id", name="weight"))
    assert sqlite_table.sql(operation) == [f'CREATE INDEX "weight" ON "indexing_parcel" ({words}, "id");']
    sqlite_table.forwards(operation)


def test_it_serves_the_order_it_is_for_on_sqlite(sqlite_table: Table) -> None:
    sqlite_table.forwards(
        AddIndexSafely("parcel", PortableIndex(F("weight").desc(nulls_last=True), "id", name="weight"))
    )
    with sqlite_table.connection.cursor() as cursor:
        cursor.execute(
            "EXPLAIN QUERY PLAN SELECT id FROM indexing_parcel ORDER BY weight DESC NULLS LAST, id"
        )
        plan = " ".join(row[3] for row in cursor.fetchall())
    assert "weight" in plan
    assert "TEMP B-TREE" not in plan


def test_it_equals_itself_after_a_migration(sqlite_table: Table) -> None:
    index = PortableIndex(F("weight").desc(nulls_last=True), name="weight", condition=None)
    assert index.clone() == index
    assert index != Index(F("weight").desc(nulls_last=True), name="weight")
