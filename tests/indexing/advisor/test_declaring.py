from __future__ import annotations

from typing import Any

import pytest
from django.db import connection, models
from django.db.models import F, Q
from django.db.models.functions import TruncDate, Upper

from perfkit.errors import UnwritableIndexError
from perfkit.indexing import PortableIndex
from perfkit.indexing.advisor.catalogue import postgres_inventory
from perfkit.indexing.advisor.declaring import declared_index, index_name
from perfkit.indexing.advisor.remedies import meta_line
from perfkit.indexing.advisor.specs import IndexSpec, Key
from perfkit.indexing.advisor.trees import of_text
from perfkit.postgres.catalogue import find_index
from tests.indexing.tables import KINDS, TABLE, Table


def keys(*texts: str, **more: Any) -> tuple[Key, ...]:
    return tuple(Key(text, **more) for text in texts)


def of(*texts: str, **more: Any) -> IndexSpec:
    return IndexSpec(TABLE, keys(*texts), **more)


EXPRESSIONS = [
    "upper(owner)",
    "upper((owner)::text)",
    "lower(owner)",
    "weight + 1",
    "(weight * 2) - id",
    "COALESCE(weight, 0)",
    "(created AT TIME ZONE 'UTC')::date",
    "date_trunc('month', created AT TIME ZONE 'UTC')",
    "EXTRACT(year FROM created AT TIME ZONE 'UTC')",
    "labels ->> 'colour'",
    "labels -> 'colour'",
    "weight::numeric(10,2)",
    "weight::bigint",
    "id::text",
    "initcap(owner)",
    'owner COLLATE "C"',
]
CONDITIONS = [
    "status = 'lost'",
    "(status)::text = 'lost'::text",
    "'lost' = status",
    "status <> 'lost'",
    "NOT (status = 'lost')",
    "status IN ('lost', 'found')",
    "status = ANY (ARRAY['found', 'lost'])",
    "labels ? 'colour'",
    "labels ? 'colour' AND weight > 5",
    "weight IS NULL",
    "weight IS NOT NULL",
    "weight > 5 AND status = 'lost'",
    "status = 'lost' OR weight <= -3",
    "created >= '2026-01-01 00:00:00+00'",
    "owner LIKE 'abc%'",
    "status = 'it''s 100% (odd'",
]


@pytest.mark.postgres
class TestPostgres:
    def proven(self, table: Table, spec: IndexSpec) -> models.Index:
        """Have Django make the index, and see that it is the spec's."""
        index = declared_index(spec, table.model, "advised", using="default")
        with connection.cursor() as cursor:
            cursor.execute(spec.sql("by_hand", connection.ops.quote_name))
        with connection.schema_editor() as editor:
            editor.add_index(table.model, index)
        one, other = (find_index(connection, TABLE, name) for name in ("by_hand", "advised"))
        assert one is not None
        assert other is not None
        assert (one.shape.orders, one.shape.operator_classes, one.shape.collations) == (
            other.shape.orders,
            other.shape.operator_classes,
            other.shape.collations,
        )
        return index

    @pytest.mark.parametrize("text", EXPRESSIONS)
    def test_it_says_expressions(self, table: Table, text: str) -> None:
        spec = IndexSpec(TABLE, (Key(text, True), Key("id")))
        self.proven(table, spec)

    @pytest.mark.parametrize("condition", CONDITIONS)
    def test_it_says_conditions(self, table: Table, condition: str) -> None:
        self.proven(table, of("owner", condition=condition))

    def test_it_says_columns(self, table: Table) -> None:
        spec = IndexSpec(TABLE, (Key("owner"), Key("created", descending=True)), include=("weight",))
        index = self.proven(table, spec)
        assert index == models.Index(fields=["owner", "-created"], include=["weight"], name="advised")

    def test_it_says_where_no_value_stands(self, table: Table) -> None:
        spec = IndexSpec(TABLE, (Key("weight", descending=True, nulls_first=False), Key("id")))
        index = self.proven(table, spec)
        assert index == PortableIndex(F("weight").desc(nulls_last=True), F("id"), name="advised")

    def test_it_says_classes_and_methods(self, table: Table) -> None:
        prefix = IndexSpec(TABLE, (Key("owner", operator_class="varchar_pattern_ops"), Key("id")))
        assert self.proven(table, prefix).opclasses == ["varchar_pattern_ops", ""]

    def test_classes_of_expressions_and_others(self, table: Table) -> None:
        self.proven(table, IndexSpec(TABLE, (Key("upper(owner)", True, "text_pattern_ops"),)))

    @pytest.mark.parametrize("method", ["gin", "brin", "hash"])
    def test_it_says_methods(self, table: Table, method: str) -> None:
        key = Key("labels", operator_class="jsonb_path_ops") if method == "gin" else Key("owner")
        self.proven(table, IndexSpec(TABLE, (key,), method=method))

    def test_it_reads_back_what_django_makes(self, table: Table) -> None:
        kinds = {
            **KINDS,
            "upper": models.Index(Upper("owner"), F("weight").desc(), name="kind_upper"),
            "day": models.Index(TruncDate("created"), "owner", name="kind_day"),
            "open": models.Index(fields=["id"], condition=~Q(status="x") & Q(weight__gt=3), name="kind_open"),
        }
        with connection.schema_editor() as editor:
            for each in kinds.values():
                editor.add_index(table.model, each)
        there = {each.name: each.spec for each in postgres_inventory(connection).indexes}
        for each in kinds.values():
            if each.name in {"kind_storage", "kind_brin"}:
                continue  # a spec does not say how it is stored
            declared_index(there[each.name], table.model, "again", using="default")

    @pytest.mark.parametrize(
        ("spec", "reason"),
        [
            (of("nothing"), "no field of its own"),
            (of("owner", is_unique=True), "UniqueConstraint"),
            (IndexSpec(TABLE, (Key("owner || status", True),)), "no words"),
            (IndexSpec(TABLE, (Key("upper(", True),)), "cannot be read"),
            (IndexSpec(TABLE, (Key("now()", True),)), "does not take it"),
            (of("owner", condition="upper(status) = 'A'"), "no words for its condition"),
            (of("owner", condition="weight <> 3"), "another index"),
            (of("owner", condition="weight > 'x'"), "what it cannot hold"),
            (IndexSpec(TABLE, (Key("(created AT TIME ZONE 'Asia/Tokyo')::date", True),)), "another index"),
            (of("owner", method="bloom"), "method bloom"),
        ],
    )
    def test_it_says_by_whose_hand_others_are_written(
        self, table: Table, spec: IndexSpec, reason: str
    ) -> None:
        with pytest.raises(UnwritableIndexError, match=reason):
            declared_index(spec, table.model, "advised", using="default")
        with connection.cursor() as cursor:
            cursor.execute("SELECT to_regclass('perfkit_scratch')")
            assert cursor.fetchone() == (None,)


class TestSQLite:
    def test_it_says_what_sqlite_has(self, sqlite_table: Table) -> None:
        for spec in (
            IndexSpec(TABLE, (Key("owner"), Key("created", descending=True))),
            IndexSpec(TABLE, (Key('upper("owner")', True), Key("id"))),
            of("owner", condition="status = 'lost' AND weight IS NOT NULL"),
        ):
            index = declared_index(spec, sqlite_table.model, "advised", using="elsewhere")
            with sqlite_table.connection.schema_editor() as editor:
                editor.add_index(sqlite_table.model, index)
                editor.remove_index(sqlite_table.model, index)

    def test_it_refuses_what_would_differ(self, sqlite_table: Table) -> None:
        with pytest.raises(UnwritableIndexError, match="another index"):
            declared_index(of("owner", condition="weight <> 3"), sqlite_table.model, "a", using="elsewhere")


class TestNames:
    def test_they_are_short_and_stay_the_same(self) -> None:
        spec = of("a_rather_long_column", "another_one")
        name = index_name(spec, "flightofthebumblebee")
        assert name == index_name(of("a_rather_long_column", "another_one"), "flightofthebumblebee")
        assert len(name) <= 30
        models.Index(fields=["x"], name=name)

    def test_different_indexes_have_different_ones(self) -> None:
        specs = [
            of("a"),
            of("a", condition="b"),
            of("a", method="gin"),
            of("a", include=("b",)),
            of("a", "b"),
        ]
        names = {index_name(each, "flight") for each in specs}
        assert len(names) == len(specs)
        assert index_name(of("a"), "flight", names) not in names

    @pytest.mark.parametrize("of_what", ["_x", "1x", "Über", "", "x" * 60])
    def test_they_are_django_s(self, of_what: str) -> None:
        assert models.Index(fields=["x"], name=index_name(of("1", "_"), of_what)).name


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a = 'x'", "'x'::text = (a)::text"),
        ("NOT (a = 'x')", "a <> 'x'"),
        ("b = false", "NOT b"),
        ("b", "b = true"),
        ("NOT NOT b", "b"),
        ("a IN ('y','x')", "(a)::text = ANY ((ARRAY['x'::varchar, 'y'::varchar])::text[])"),
        ("a IS NULL AND b", "b AND (a IS NULL)"),
        ("b OR (a = 'x' OR c > 3)", "3 < c OR b OR a = 'x'"),
    ],
)
def test_two_spellings_are_one_tree(one: str, other: str) -> None:
    first, second = (of_text(each, texts=["a"], truths=["b"]) for each in (one, other))
    assert first == second


def test_casts_of_other_columns_count() -> None:
    assert of_text("c::text") != of_text("c")


def test_a_line_is_short_and_says_what_it_imports() -> None:
    index = PortableIndex(F("weight").desc(nulls_last=True), name="x")
    line, imports = meta_line(index)
    assert line.startswith("PortableIndex(models.OrderBy(models.F('weight')")
    assert imports == ("from django.db import models", "from perfkit.indexing import PortableIndex")
