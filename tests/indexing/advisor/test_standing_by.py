"""What is advised beside indexes that are there: partitioned, invalid, and those that a new one replaces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from django.core.management import call_command
from django.db import IntegrityError, OperationalError, connection
from django.db.migrations import RunSQL
from django.db.migrations.state import ProjectState

from perfkit.indexing.advisor.findings import Confidence, Finding, Kind
from perfkit.indexing.advisor.inspecting import inspect
from perfkit.indexing.advisor.judging import Limits
from perfkit.indexing.advisor.remedies import Remedy, remedies
from perfkit.indexing.advisor.running import run_advisor
from perfkit.indexing.advisor.specs import IndexSpec, Key
from perfkit.indexing.repair import found
from perfkit.indexing.steps import Patience
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


def run(made: Remedy) -> tuple[str, list[str]]:
    """Return the statements of a removal that no model declares: forward, and those of its way back."""
    (operation,) = made.operations
    assert isinstance(operation, RunSQL)
    back = operation.reverse_sql
    return str(operation.sql), [back] if isinstance(back, str) else list(back)


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
        forward, back = run(made)
        sql(forward)
        assert indexes("parted") == {}
        sql(*back)
        assert indexes("parted") == {"parted_kind": (before["parted_kind"][0], False)}
        assert "perfkit_indexes repair" in made.by_hand
        call_command("perfkit_indexes", "repair")
        assert indexes("parted") == {"parted_kind": before["parted_kind"]}
        assert all("fillfactor='70'" in definition for definition, _ in indexes("parted_1").values())

    @pytest.mark.parametrize("is_back", [False, True])
    def test_the_migration_waits_no_longer_for_a_lock_than_others(self, busy: Any, *, is_back: bool) -> None:
        finding = replace(finding_of("parted_kind", Kind.UNUSED), table="flights_airline")
        forward, back = run(remedy_of(finding))
        if is_back:
            sql(forward)
        usual = f"SET LOCAL lock_timeout = '{Patience().lock_timeout}'; "
        wanted = back[0] if is_back else forward
        assert wanted.startswith(usual)
        hasty = RunSQL(wanted.replace(usual, "SET LOCAL lock_timeout = '50ms'; "))
        before = indexes("parted")
        with (
            busy("LOCK TABLE parted IN ROW EXCLUSIVE MODE"),
            connection.schema_editor(atomic=False) as editor,
            pytest.raises(OperationalError, match="lock timeout"),
        ):
            hasty.database_forwards("flights", editor, ProjectState(), ProjectState())
        assert indexes("parted") == before
        assert sql("SHOW lock_timeout") == [("0",)]
        sql(wanted)
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
        forward, back = run(made)
        sql(forward)
        assert name not in indexes(TABLE)
        sql(*back)
        sql(*back)  # as after it was killed
    assert indexes(TABLE) == before


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
