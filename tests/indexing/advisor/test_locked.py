"""What the advisor does while others have locked tables: it waits a little, and says what it has not looked at."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction

from perfkit.errors import UnwritableIndexError
from perfkit.indexing.advisor import bounds
from perfkit.indexing.advisor.bounds import bounded, locked_tables, without_end
from perfkit.indexing.advisor.catalogue import leaf_density
from perfkit.indexing.advisor.declaring import declared_index
from perfkit.indexing.advisor.findings import Kind
from perfkit.indexing.advisor.inspecting import inspect
from perfkit.indexing.advisor.judging import LARGEST_MEASURED_BYTES
from perfkit.indexing.advisor.keeping import keep
from perfkit.indexing.advisor.running import run_advisor
from perfkit.indexing.advisor.sessions import OutOfTimeError
from perfkit.indexing.advisor.specs import IndexSpec, Key
from perfkit.models import IndexAdvice
from perfkit.workload import QueryShape, Workload
from tests.indexing.advisor.test_inspecting import ALL, found, index, inventory
from tests.indexing.advisor.test_inspecting import TestBloat as Bloat
from tests.indexing.advisor.test_keeping import TO_ADD, report, states
from tests.indexing.tables import TABLE, Table

pytestmark = pytest.mark.postgres
YOUNG = replace(ALL, unused_days=10_000)
"""By which a foreign key without an index is worth a word, though no row was deleted."""

LOCK = f"LOCK TABLE {TABLE} IN ACCESS EXCLUSIVE MODE"


def sql(statement: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have it wait for locks no longer than tests need."""
    monkeypatch.setattr(bounds, "LOCK_SECONDS", 0.2)


@pytest.fixture
def doubles(table: Table) -> None:
    sql(f"CREATE INDEX one ON {TABLE} (upper(owner)); CREATE INDEX two ON {TABLE} (upper(owner), status)")
    sql(f"CREATE INDEX three ON {TABLE} (weight) WHERE weight > 3")


@pytest.mark.parametrize("lock", [LOCK, f"REINDEX TABLE {TABLE}"])
def test_a_locked_table_is_told_and_the_others_are_looked_at(doubles: None, busy: Any, lock: str) -> None:
    sql("CREATE TABLE child (parcel bigint, other bigint); CREATE INDEX child_one ON child (parcel)")
    sql("CREATE INDEX child_two ON child (parcel)")
    sql(f"ALTER TABLE {TABLE} ADD COLUMN mother bigint REFERENCES {TABLE}")
    try:
        with busy(lock):
            inspection = inspect(limits=YOUNG)
        assert inspection.unread == {TABLE}
        assert any("others have locked" in note and TABLE in note for note in inspection.notes)
        assert TABLE not in {each.table for each in (*inspection.findings, *inspection.indexes)}
        assert "child_two" in {each.name for each in inspection.findings}
        assert sql("SHOW lock_timeout") == [("0",)]
    finally:
        sql("DROP TABLE child")
    after = inspect(limits=YOUNG)
    assert not after.unread
    assert {"one", ""} <= {each.name for each in after.findings if each.table == TABLE}


def test_a_locked_partition_locks_its_table(transactional_db: None, busy: Any) -> None:
    sql("CREATE TABLE log (id bigint, at date) PARTITION BY RANGE (at)")
    try:
        sql("CREATE TABLE log_1 PARTITION OF log FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')")
        sql("CREATE INDEX log_id ON log (id)")
        with busy("REINDEX TABLE log_1"):
            assert set(locked_tables(connection).values()) >= {"log", "log_1"}
            assert inspect(limits=ALL).unread == {"log"}
    finally:
        sql("DROP TABLE log")


def test_of_a_locked_table_nothing_is_concluded(doubles: None, busy: Any) -> None:
    keep(run_advisor(workload=Workload("default", ()))[0])
    assert IndexAdvice.objects.get(index_name="one").state == "open"
    with busy(LOCK):
        made, _ = run_advisor(workload=Workload("default", ()))
        keep(replace(made, is_narrowed=False))
    assert IndexAdvice.objects.get(index_name="one").state == "open"


def test_nothing_is_concluded_where_other_names_are_not_known(doubles: None, busy: Any) -> None:
    to_add = replace(TO_ADD, table=TABLE, spec=IndexSpec(TABLE, (Key("status"),)))
    keep(report(to_add))
    with busy(LOCK):
        assert keep(report(days=1)) == (0, 0, 0, 0)
    assert states() == {"missing": "open"}
    assert keep(report(days=1)) == (0, 0, 0, 1)


def test_a_line_that_cannot_be_proven_is_told(table: Table, busy: Any) -> None:
    spec = IndexSpec(TABLE, (Key("owner"),))
    with busy(LOCK), pytest.raises(UnwritableIndexError, match=f"others have locked {TABLE}"):
        declared_index(spec, table.model, "advised", using="default")
    with pytest.raises(UnwritableIndexError, match="no time left"):
        declared_index(spec, table.model, "advised", using="default", left_seconds=lambda: 0.0)
    assert declared_index(spec, table.model, "advised", using="default").name == "advised"


def test_statements_of_a_locked_table_are_skipped(table: Table, busy: Any) -> None:
    sql(f"CREATE INDEX three ON {TABLE} (weight) WHERE weight > 3")
    shape = QueryShape("s", 500, 9.0, (f"SELECT id FROM {TABLE} WHERE owner = 'a'",))
    other = QueryShape("o", 500, 9.0, ("SELECT code FROM flights_airline WHERE name = 'a'",))
    with busy(LOCK):
        made, _ = run_advisor(workload=Workload("default", (shape, other)), has_scratch=False)
    assert made.looked_at == {"o"}
    assert made.unread == {TABLE}


def test_an_inspection_that_is_out_of_time_is_told(doubles: None) -> None:
    inspection = inspect(limits=ALL, left_seconds=lambda: 0.0)
    assert (inspection.findings, inspection.kinds) == ((), frozenset())
    assert "no time left" in inspection.notes[0]
    made, _ = run_advisor(workload=Workload("default", ()), deadline_seconds=0.0)
    assert made.kinds == frozenset()
    assert any("no time left" in note for note in made.notes)


def test_a_statement_ends_with_the_deadline(transactional_db: None) -> None:
    with pytest.raises(OperationalError, match="statement timeout"), bounded(connection, lambda: 0.05):
        sql("SELECT pg_sleep(60)")
    with pytest.raises(OutOfTimeError), bounded(connection, lambda: 0.0):
        pass


def test_a_transaction_around_it_has_its_own_timeouts_again(transactional_db: None) -> None:
    with transaction.atomic():
        sql("SET LOCAL lock_timeout = '7s'")
        with bounded(connection, without_end):
            assert sql("SHOW lock_timeout") == [("200ms",)]
        assert sql("SHOW lock_timeout") == [("7s",)]


def test_a_locked_index_is_estimated(doubles: None, busy: Any) -> None:
    sql("CREATE EXTENSION IF NOT EXISTS pgstattuple")
    try:
        (one,) = [each for each in inspect(limits=ALL).indexes if each.name == "one"]
        assert leaf_density(connection, one) is not None
        with busy(f"REINDEX TABLE {TABLE}"):
            assert leaf_density(connection, one) is None
        assert leaf_density(connection, one, left_seconds=lambda: 0.0) is None
    finally:
        sql("DROP EXTENSION pgstattuple")


def test_a_large_index_is_not_read_whole() -> None:
    asked = []

    def density(standing: Any) -> float:
        asked.append(standing.name)
        return 0.3

    for number, size_bytes in enumerate((LARGEST_MEASURED_BYTES, LARGEST_MEASURED_BYTES + 8192)):
        one = index(f"i{number}", "x", figures=Bloat.FIGURES, size_bytes=size_bytes)
        (finding,) = found(inventory(one), density=density).values()
        assert finding.kind is Kind.BLOATED
    assert asked == ["i0"]
