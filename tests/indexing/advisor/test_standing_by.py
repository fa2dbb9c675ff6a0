"""What is advised beside indexes that are there: partitioned, invalid, and those that a new one replaces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.state import ModelState, ProjectState

from perfkit.errors import IndexLockedError
from perfkit.indexing.advisor.findings import Confidence, Finding, Kind
from perfkit.indexing.advisor.inspecting import inspect
from perfkit.indexing.advisor.judging import Limits
from perfkit.indexing.advisor.remedies import Remedy, remedies
from perfkit.indexing.advisor.running import run_advisor
from perfkit.indexing.advisor.specs import IndexSpec, Key
from perfkit.indexing.repair import found
from perfkit.indexing.steps import Patience
from perfkit.indexing.undeclared import DropIndexSafely, stated_index
from project.flights.models import Airline
from tests.indexing.advisor.shop import shape, workload
from tests.indexing.tables import TABLE, Table

pytestmark = pytest.mark.postgres
ALL = Limits(unused_days=0, unused_bytes=0, reference_rows=10**9)


def sql(*statements: str) -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        for each in statements:
            cursor.execute(each)
        return list(cursor.fetchall()) if cursor.description else []


def indexes(table: str) -> dict[str, tuple[str, bool]]:
    rows = sql(
        "SELECT i.relname, pg_get_indexdef(i.oid), x.indisvalid FROM pg_index x "
        f"JOIN pg_class i ON i.oid = x.indexrelid WHERE x.indrelid = '{table}'::regclass"
    )
    return {str(name): (str(definition), bool(is_valid)) for name, definition, is_valid in rows}


def finding_of(name: str, kind: Kind) -> Finding:
    (only,) = [each for each in inspect(limits=ALL).findings if (each.name, each.kind) == (name, kind)]
    return only


def remedy_of(finding: Finding) -> Remedy:
    (made,) = remedies([finding], "default")
    return made


class Drop:
    """The removal of an index that no model declares, run on a table as though it were that of airlines."""

    def __init__(self, made: Remedy, table: str) -> None:
        (operation,) = made.operations
        assert isinstance(operation, DropIndexSafely)
        self.operation = operation
        self.state = ProjectState()
        key = [("id", models.BigAutoField(primary_key=True))]
        self.state.add_model(ModelState("flights", "Airline", key, {"db_table": table}))

    def forwards(self, using: BaseDatabaseWrapper | None = None) -> None:
        with (using or connection).schema_editor(atomic=False) as editor:
            self.operation.database_forwards("flights", editor, self.state, self.state)

    def backwards(self, using: BaseDatabaseWrapper | None = None) -> None:
        with (using or connection).schema_editor(atomic=False) as editor:
            self.operation.database_backwards("flights", editor, self.state, self.state)


class TestPartitioned:
    @pytest.fixture(autouse=True)
    def log(self, transactional_db: None) -> Iterator[None]:
        """Have a partitioned table, and an index of it that is stored in a way of its own."""
        sql(
            "CREATE TABLE parted (id bigint, at date, kind text) PARTITION BY RANGE (at)",
            "CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')",
            "CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM ('2026-02-01') TO ('2026-03-01')",
            "INSERT INTO parted SELECT n, '2026-01-05', 'x' || n FROM generate_series(1, 3000) n",
            "CREATE INDEX parted_kind ON parted (kind) WITH (fillfactor = 70)",
            "ANALYZE parted",
        )
        try:
            yield
        finally:
            sql("DROP TABLE parted")

    def test_an_index_goes_and_comes_back_as_it_was(self) -> None:
        before = indexes("parted") | indexes("parted_1")
        owned = replace(finding_of("parted_kind", Kind.UNUSED), table="flights_airline")  # which a model has
        made = remedy_of(owned)
        drop = Drop(made, "parted")
        drop.forwards()
        assert indexes("parted") == {}
        drop.backwards()
        assert indexes("parted") == {"parted_kind": before["parted_kind"]}
        assert all("fillfactor='70'" in definition for definition, _ in indexes("parted_1").values())

    @pytest.mark.parametrize("is_back", [False, True])
    def test_the_migration_waits_no_longer_for_a_lock_than_others(self, busy: Any, *, is_back: bool) -> None:
        finding = replace(finding_of("parted_kind", Kind.UNUSED), table="flights_airline")
        drop = Drop(remedy_of(finding), "parted")
        assert drop.operation.patience == Patience()
        drop.operation.patience = Patience(0.05, attempts=1)
        if is_back:
            drop.forwards()
        wanted = drop.backwards if is_back else drop.forwards
        before = indexes("parted")
        with busy("LOCK TABLE parted IN ROW EXCLUSIVE MODE"), pytest.raises(IndexLockedError):
            wanted()
        assert indexes("parted") == before
        assert sql("SHOW lock_timeout") == [("0",)]
        wanted()
        assert indexes("parted") != before

    def test_what_is_shown_is_what_postgresql_takes(self) -> None:
        missing = Finding(
            Kind.MISSING, "default", "parted", IndexSpec("parted", (Key("id"),)), "", Confidence.BUILT
        )
        added = remedy_of(missing)
        assert "CONCURRENTLY" not in added.sql
        sql(added.sql)
        assert indexes("parted")[added.name][1] is False
        invalid = remedy_of(finding_of(added.name, Kind.INVALID))
        call_command("perfkit_indexes", "repair")
        assert indexes("parted")[added.name][1] is True
        assert added.name not in {
            each.name for each in inspect(limits=ALL).findings if each.kind is Kind.INVALID
        }
        bloated = replace(finding_of("parted_kind", Kind.UNUSED), kind=Kind.BLOATED)
        removed = remedy_of(finding_of("parted_kind", Kind.UNUSED)).sql
        assert removed.startswith("BEGIN; SET LOCAL lock_timeout = ")
        sql(remedy_of(bloated).sql, invalid.sql, removed)
        assert indexes("parted") == {}


class TestInvalid:
    def test_one_that_a_build_has_left_is_found_and_its_statement_drops_it(self, table: Table) -> None:
        table.fill(10)
        with pytest.raises(IntegrityError):
            sql(f"CREATE UNIQUE INDEX CONCURRENTLY left_over ON {TABLE} ((1))")
        assert indexes(TABLE)["left_over"][1] is False
        finding = finding_of("left_over", Kind.INVALID)
        made = remedy_of(finding)
        assert "perfkit_indexes repair" in made.by_hand
        assert [each.name for each, _ in found("default")] == ["left_over"]
        sql(made.sql)
        assert "left_over" not in indexes(TABLE)

    def test_one_that_a_constraint_stands_on_is_built_anew(self, table: Table) -> None:
        sql(f"ALTER TABLE {TABLE} ADD CONSTRAINT once UNIQUE (created)")
        sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'once'::regclass")
        made = remedy_of(finding_of("once", Kind.INVALID))
        sql(made.sql)
        assert indexes(TABLE)["once"][1] is True


def test_an_undeclared_index_comes_back_with_all_that_it_had(table: Table) -> None:
    sql(
        f"CREATE INDEX own_kept ON {TABLE} (owner, status)",
        f"CREATE UNIQUE INDEX own ON {TABLE} (owner, weight DESC NULLS LAST) INCLUDE (status) "
        "NULLS NOT DISTINCT WITH (fillfactor = 60) WHERE weight > 3",
        f"CREATE INDEX listed ON {TABLE} USING gin (labels jsonb_path_ops) WITH (fastupdate = off)",
    )
    before = indexes(TABLE)
    standing = {each.name: each for each in inspect(limits=ALL).indexes}
    for name in ("own", "listed"):
        there = standing[name]
        made = remedy_of(
            Finding(
                Kind.UNUSED, "default", "flights_airline", there.spec, "", Confidence.CATALOGUE,
                name=name, definition=there.definition,
            )
        )  # fmt: skip
        drop = Drop(made, TABLE)
        drop.forwards()
        drop.forwards()
        assert name not in indexes(TABLE)
        drop.backwards()
        drop.backwards()  # as after it was killed
    assert indexes(TABLE) == before


def test_an_undeclared_index_goes_in_its_own_database_alone(table: Table, sqlite_table: Table) -> None:
    """On SQLite its definition is a syntax error, and on another PostgreSQL it never was."""
    sql(f"CREATE INDEX own ON {TABLE} (owner) WITH (fillfactor = 60)")
    made = remedy_of(replace(finding_of("own", Kind.UNUSED), table="flights_airline"))
    drop = Drop(made, TABLE)
    with sqlite_table.connection.cursor() as cursor:
        cursor.execute(f"CREATE INDEX own ON {TABLE} (owner)")
        drop.forwards(sqlite_table.connection)
        drop.backwards(sqlite_table.connection)
        cursor.execute("SELECT name FROM sqlite_master WHERE name = 'own'")
        assert cursor.fetchall() == [("own",)]
    drop.operation.database = "another"
    before = indexes(TABLE)
    drop.forwards()
    assert indexes(TABLE) == before
    sql("DROP INDEX own")
    drop.backwards()
    assert "own" not in indexes(TABLE)


@pytest.mark.parametrize(
    "definition",
    [
        'CREATE UNIQUE INDEX "a ""ON b" ON ONLY public."My Table" USING btree (x) WHERE (x ~~ \'%s\'::text)',
        "CREATE UNIQUE INDEX a ON t USING btree (x) WHERE (x ~~ '%s'::text)",
    ],
)
def test_a_definition_is_read_whatever_its_names_are(definition: str) -> None:
    wanted = stated_index(Airline, "own", definition)
    with connection.schema_editor(collect_sql=True, atomic=False) as editor:
        made = wanted.sql(editor, concurrently=True)
    assert made == (
        'CREATE UNIQUE INDEX CONCURRENTLY "own" ON "flights_airline" USING btree (x) WHERE (x ~~ \'%s\'::text)'
    )
    with pytest.raises(ValueError, match="makes no index"):
        stated_index(Airline, "own", "DROP TABLE x")


@pytest.mark.usefixtures("shop")
class TestReplaced:
    """A new index that does all that one which is there does is never proposed beside it."""

    def findings(self, *statements: str) -> list[Finding]:
        report, _ = run_advisor(workload=workload(*map(shape, statements)))
        return [each.finding for each in report.remedies if each.finding.table.startswith("shop_")]

    def test_the_one_it_begins_with_goes_once(self) -> None:
        sql(
            "CREATE INDEX shop_many ON shop_order (customer_id) WITH (fillfactor = 100)",
            "INSERT INTO shop_order SELECT n, 77, 1, 'done', 1, timestamptz '2024-01-01' + n * interval '1 hour', "
            "NULL, '{}' FROM generate_series(100001, 120000) n",
            "VACUUM ANALYZE shop_order",
        )
        wanted = (
            "SELECT id FROM shop_order WHERE customer_id = 77 AND made < '2035-06-08' ORDER BY made LIMIT 5"
        )
        found = self.findings(wanted)
        (added,) = [each for each in found if each.kind is Kind.MISSING]
        assert added.spec is not None
        assert added.spec.columns == ("customer_id", "made")
        assert added.replaces == ("shop_many",)
        assert "shop_many" not in {each.name for each in found}

    def test_none_that_only_carries_more_than_a_unique_one(self) -> None:
        sql(
            "CREATE UNIQUE INDEX shop_mail ON shop_customer (email)",
            "VACUUM ANALYZE shop_customer",
        )
        found = self.findings(
            "SELECT c.email, o.id FROM shop_order o JOIN shop_customer c ON c.id = o.customer_id WHERE total < 1",
            "SELECT country FROM shop_customer WHERE email > 'user1' ORDER BY email LIMIT 400",
        )
        for each in found:
            assert each.spec is not None
            if each.kind is Kind.MISSING:
                assert each.spec.columns not in {("email",), ("id",)}

    def test_a_table_of_a_thousand_rows_gets_none(self) -> None:
        sql("DELETE FROM shop_line WHERE id > 1000", "VACUUM FULL shop_line", "ANALYZE shop_line")
        found = self.findings("SELECT id FROM shop_line WHERE product = 5")
        assert [each for each in found if each.kind is Kind.MISSING] == []
