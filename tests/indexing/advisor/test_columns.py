"""What is known of real tables."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.db import connection, models
from django.db.models.functions import Upper

from perfkit.indexing.advisor.columns import table_facts
from perfkit.indexing.advisor.specs import Key
from tests.indexing.advisor.statements import specs_of, statement, tables, texts
from tests.testapp.advised import Captain, Voyage

POSTGRES = connection.vendor == "postgresql"


def fill(rows: int) -> None:
    captain = Captain.objects.create(name="Ann", country="NZ")
    now = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    Voyage.objects.bulk_create(
        Voyage(
            captain=captain,
            status="late" if number % 50 == 0 else "done",
            made=now + dt.timedelta(hours=number),
            day=now.date(),
            cost=number,
            is_paid=number % 10 > 0,
            ref=f"R{number}",
            title="x",
            height=number if number % 4 == 0 else None,
        )
        for number in range(rows)
    )


@pytest.fixture
def voyages(transactional_db: None) -> Any:
    with tables(Captain, Voyage):
        fill(1000)
        with connection.cursor() as cursor:
            cursor.execute(f"ANALYZE {connection.ops.quote_name(Voyage._meta.db_table)}")
        yield


@pytest.mark.postgres
@pytest.mark.skipif(not POSTGRES, reason="of PostgreSQL's statistics")
def test_it_knows_the_statistics(voyages: None) -> None:
    found = table_facts(connection, ["advised_voyage", "nowhere"])
    assert list(found) == ["advised_voyage"]
    facts = found["advised_voyage"]
    assert facts.rows == 1000
    assert facts.primary_key == ("id",)
    assert list(facts.columns)[:3] == ["id", "captain_id", "status"]
    status, height = facts.columns["status"], facts.columns["height"]
    assert (status.type, status.distinct) == ("character varying", 2.0)
    assert status.common["late"] == pytest.approx(0.02)
    assert height.null_fraction == pytest.approx(0.75)
    assert height.is_nullable
    assert not status.is_nullable
    assert facts.columns["ref"].distinct == pytest.approx(1000)
    assert facts.columns["made"].correlation == pytest.approx(1.0)
    assert "late" not in repr(facts)


@pytest.mark.postgres
@pytest.mark.skipif(not POSTGRES, reason="of PostgreSQL's catalogue")
def test_it_asks_as_often_for_many_tables_as_for_one(voyages: None, django_assert_num_queries: Any) -> None:
    every = connection.introspection.table_names()
    assert len(every) > 20
    with django_assert_num_queries(3):
        table_facts(connection, ["advised_voyage"])
    with django_assert_num_queries(3):
        assert set(table_facts(connection, every)) == set(every)


@pytest.mark.postgres
@pytest.mark.skipif(not POSTGRES, reason="of PostgreSQL's kinds of indexes")
def test_it_knows_the_indexes(voyages: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE INDEX one ON advised_voyage (captain_id, made DESC NULLS LAST) INCLUDE (height)"
        )
        cursor.execute(
            "CREATE UNIQUE INDEX two ON advised_voyage (upper(ref)) WHERE status = 'late' AND NOT is_paid"
        )
        cursor.execute("CREATE INDEX three ON advised_voyage USING gin (labels jsonb_path_ops)")
        cursor.execute('CREATE INDEX four ON advised_voyage (ref COLLATE "C")')
        cursor.execute("ALTER TABLE advised_voyage ADD CONSTRAINT five UNIQUE (ref, height)")
    facts = table_facts(connection, ["advised_voyage"])["advised_voyage"]
    known = {index.name: index for index in facts.indexes}
    assert known["one"].spec.keys == (Key("captain_id"), Key("made", descending=True, nulls_first=False))
    assert known["one"].spec.include == ("height",)
    assert known["two"].spec.keys == (Key("upper((ref)::text)", is_expression=True),)
    assert known["two"].spec.condition == "(((status)::text = 'late'::text) AND (NOT is_paid))"
    assert known["two"].spec.is_unique
    assert known["three"].spec.keys == (Key("labels", operator_class="jsonb_path_ops"),)
    assert known["four"].spec.keys[0].is_expression
    assert known["five"].backs_constraint
    assert not known["one"].backs_constraint
    for taken in (
        Voyage.objects.filter(captain=5).order_by(models.F("made").asc(nulls_first=True)),
        Voyage.objects.filter(labels__contains={"a": 1}),
    ):
        assert not {each.keys for each in specs_of(statement(taken), {"advised_voyage": facts})} & {
            known["one"].spec.keys,
            known["three"].spec.keys,
        }


@pytest.mark.postgres
@pytest.mark.skipif(not POSTGRES, reason="of PostgreSQL's types")
def test_it_knows_types_and_collations(transactional_db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT collname FROM pg_collation WHERE collprovider = 'c' AND collcollate NOT IN ('C', 'POSIX')"
        )
        language = cursor.fetchone()[0]
        cursor.execute("CREATE DOMAIN advised_code AS varchar(8)")
        cursor.execute("CREATE TYPE advised_mood AS ENUM ('a', 'b')")
        cursor.execute(
            'CREATE TABLE advised_types (code advised_code, mood advised_mood, "Old" json, numbers int[],'
            ' spot point, span int4range, bytes text COLLATE "C",'
            f' words text COLLATE "{language}", price numeric(5, 2))'
        )
    try:
        facts = table_facts(connection, ["advised_types"])["advised_types"]
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE advised_types; DROP DOMAIN advised_code; DROP TYPE advised_mood")
    kinds = {name: (column.type, column.is_sortable) for name, column in facts.columns.items()}
    assert kinds == {
        "code": ("character varying", True),
        "mood": ("advised_mood", True),
        "Old": ("json", False),
        "numbers": ("integer[]", True),
        "spot": ("point", False),
        "span": ("int4range", True),
        "bytes": ("text", True),
        "words": ("text", True),
        "price": ("numeric", True),
    }
    assert facts.columns["bytes"].is_bytewise
    assert not facts.columns["words"].is_bytewise
    prefix = "SELECT * FROM advised_types WHERE {} LIKE 'a%'"
    known = {"advised_types": facts}
    assert texts(specs_of(prefix.format("bytes"), known)) == ["advised_types (bytes)"]
    assert texts(specs_of(prefix.format("words"), known)) == ["advised_types (words text_pattern_ops)"]


@pytest.mark.postgres
@pytest.mark.skipif(not POSTGRES, reason="of PostgreSQL's roles")
def test_a_role_that_may_not_read_a_table_learns_no_values(voyages: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE ROLE advised_reader")
        try:
            cursor.execute("SET ROLE advised_reader")
            facts = table_facts(connection, ["advised_voyage"])["advised_voyage"]
        finally:
            cursor.execute("RESET ROLE")
            cursor.execute("DROP ROLE advised_reader")
    assert facts.rows == 1000
    assert facts.columns["status"].distinct is None
    assert not facts.columns["status"].common


@pytest.mark.skipif(POSTGRES, reason="of SQLite's catalogue")
def test_it_knows_tables_of_sqlite(voyages: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute('CREATE INDEX "one" ON "advised_voyage" ("captain_id", "made" DESC)')
        cursor.execute('CREATE INDEX "two" ON "advised_voyage" ("status") WHERE NOT "is_paid"')
        cursor.execute('CREATE UNIQUE INDEX "three" ON "advised_voyage" ("ref")')
        cursor.execute("ANALYZE")
    facts = table_facts(connection, ["advised_voyage", "nowhere"])["advised_voyage"]
    assert facts.rows == 1000
    assert facts.is_sqlite
    assert facts.primary_key == ("id",)
    assert facts.columns["made"].type == "timestamp without time zone"
    assert facts.columns["ref"].distinct == pytest.approx(1000)
    known = {index.name: index.spec for index in facts.indexes}
    assert known["one"].keys == (Key("captain_id"), Key("made", descending=True))
    assert known["two"].condition == "(NOT is_paid)"
    assert known["three"].is_unique


@pytest.mark.skipif(POSTGRES, reason="of SQLite's indexes")
def test_sqlite_takes_and_uses_what_is_thought_of(voyages: None) -> None:
    known = table_facts(connection, ["advised_voyage", "advised_captain"])
    now = dt.datetime(2024, 1, 2, tzinfo=dt.UTC)
    querysets = [
        Voyage.objects.filter(captain=5).order_by("-made")[:5],
        Voyage.objects.filter(status="late", is_paid=False),
        Voyage.objects.filter(gone__isnull=True, made__gt=now).order_by("made"),
        Voyage.objects.filter(made__date=now.date(), captain=5),
        Voyage.objects.filter(ref__icontains="abc", captain__in=[1, 2]),
        Voyage.objects.filter(labels__a=5, captain=5),
        Voyage.objects.annotate(loud=Upper("ref")).filter(loud="R5"),
        Voyage.objects.filter(ref__regex="^R5", day__year=2024, height__isnull=False),
        Voyage.objects.filter(models.Q(captain=5) | models.Q(ref="R5")),
        Voyage.objects.filter(captain__country="NZ"),
    ]
    for queryset in querysets:
        sql = statement(queryset)
        found = specs_of(sql, known)
        assert found, sql
        with connection.cursor() as cursor:
            for place, spec in enumerate(found):
                cursor.execute(spec.sql(f"advised_{place}", connection.ops.quote_name))
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
            plan = cursor.fetchall()
            for place in range(len(found)):
                cursor.execute(f"DROP INDEX advised_{place}")
        assert any("INDEX advised_" in row[-1] for row in plan), (sql, texts(found))
