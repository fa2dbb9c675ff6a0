from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import DatabaseError, OperationalError, connection, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test.utils import CaptureQueriesContext

from perfkit.errors import (
    AtomicMigrationError,
    IndexConflictError,
    IndexLockedError,
)
from perfkit.indexing import AddIndexSafely, RemoveIndexSafely
from perfkit.indexing.concurrent import build_index, drop_index
from perfkit.indexing.steps import Patience
from perfkit.indexing.wanted import of_index
from perfkit.postgres.catalogue import IndexState, find_index
from tests.indexing.tables import APP, KINDS, TABLE, Table, table_of, wait_until

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]

INDEX = models.Index(fields=["owner"], name="parcel_owner")
ADD = AddIndexSafely("parcel", INDEX)
REMOVE = RemoveIndexSafely("parcel", "parcel_owner")
HASTY = AddIndexSafely("parcel", INDEX, lock_timeout_seconds=0.1, attempts=1)
WRITE = f"INSERT INTO {TABLE} (owner, status, labels, created) VALUES ('a', 'b', '{{}}', now())"

Busy = Callable[..., Any]


def there(name: str = "parcel_owner", table: str = TABLE) -> IndexState | None:
    return find_index(connection, table, name)


def state_of(name: str = "parcel_owner") -> str:
    index = there(name)
    if index is None:
        return "none"
    return "valid" if index.is_valid else "invalid"


def setting(name: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"SHOW {name}")
        return cursor.fetchone()[0]


@contextmanager
def elsewhere(task: Callable[[], object]) -> Iterator[list[BaseException]]:
    """Run `task` in a thread with a connection of its own; the list then has what it raised."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            task()
        except DatabaseError as error:
            raised.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield raised
    finally:
        thread.join(30)
        assert not thread.is_alive()


def leave_invalid(table: Table, busy: Busy) -> None:
    """Leave what a build that was killed half-way leaves."""
    with busy(WRITE), elsewhere(lambda: Table(connection).forwards(ADD)) as raised:
        wait_until(lambda: (index := there()) is not None and index.builder_pid is not None)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [there().builder_pid])
        wait_until(lambda: bool(raised))
    assert isinstance(raised[0], OperationalError)
    assert state_of() == "invalid"


class TestBuild:
    @pytest.mark.parametrize("kind", KINDS)
    def test_it_builds_each_kind_of_index(self, table: Table, kind: str) -> None:
        table.fill(500)
        table.forwards(AddIndexSafely("parcel", KINDS[kind]))
        assert there(KINDS[kind].name).is_valid

    @pytest.mark.parametrize(
        ("kind", "query"),
        [
            ("single", "SELECT * FROM {} WHERE status = 'lost'"),
            ("composite", "SELECT * FROM {} WHERE owner = 'Owner5' AND status = 'lost'"),
            ("descending", "SELECT * FROM {} WHERE owner = 'Owner5' ORDER BY created DESC LIMIT 3"),
            ("partial", "SELECT * FROM {} WHERE status = 'lost' ORDER BY created LIMIT 3"),
            ("covering", "SELECT owner, weight FROM {} WHERE owner = 'Owner5'"),
            ("expression", "SELECT * FROM {} WHERE lower(owner) = 'owner5'"),
            ("nulls last", "SELECT * FROM {} ORDER BY weight DESC NULLS LAST, id LIMIT 3"),
            ("operator class", "SELECT * FROM {} WHERE owner LIKE 'Owner69%%'"),
            ("gin", "SELECT * FROM {} WHERE labels @> '{{\"n\": 7}}'"),
            ("quoted", "SELECT * FROM {} WHERE owner = 'Owner5' AND weight = 5"),
        ],
    )
    def test_it_builds_what_queries_use(self, table: Table, kind: str, query: str) -> None:
        table.fill(5_000)
        table.forwards(AddIndexSafely("parcel", KINDS[kind]))
        with connection.cursor() as cursor:
            cursor.execute("EXPLAIN " + query.format(TABLE), [])
            plan = "\n".join(row[0] for row in cursor.fetchall())
        assert KINDS[kind].name in plan

    def test_it_costs_seven_queries(self, table: Table) -> None:
        with CaptureQueriesContext(connection) as queries:
            table.forwards(ADD)
        assert len(queries) == 7
        assert sum("CREATE INDEX CONCURRENTLY" in query["sql"] for query in queries) == 1

    def test_it_lets_others_write_meanwhile(self, table: Table, busy: Busy) -> None:
        with busy(WRITE) as release, elsewhere(lambda: Table(connection).forwards(ADD)) as raised:
            wait_until(lambda: (index := there()) is not None and index.builder_pid is not None)
            with connection.cursor() as cursor:
                cursor.execute("SET lock_timeout = '5s'")
                cursor.execute(WRITE)
                cursor.execute("RESET lock_timeout")
            release()
        assert raised == []
        assert state_of() == "valid"

    def test_it_refuses_a_transaction_and_says_what_to_write(self, table: Table) -> None:
        after = table.state.clone()
        ADD.state_forwards(APP, after)
        with (
            pytest.raises(AtomicMigrationError, match=r"AddIndexSafely\('parcel_owner'\).*`atomic = False`"),
            connection.schema_editor(atomic=True) as editor,
        ):
            ADD.database_forwards(APP, editor, table.state, after)
        assert state_of() == "none"

    def test_it_works_in_another_schema(self, transactional_db: None) -> None:
        with connection.cursor() as cursor:
            cursor.execute("CREATE SCHEMA stock")
        try:
            with table_of(connection, '"stock"."Parcel"') as table:
                before = table.state
                table.forwards(ADD)
                assert there(table='"stock"."Parcel"').schema == "stock"
                table.again(ADD)
                table.backwards(ADD, before)
                assert there(table='"stock"."Parcel"') is None
        finally:
            with connection.cursor() as cursor:
                cursor.execute("DROP SCHEMA stock")

    def test_it_lets_any_other_error_through_and_leaves_nothing(self, table: Table) -> None:
        table.fill(400)
        broken = AddIndexSafely("parcel", models.Index(1 / (models.F("weight") - 7), name="parcel_owner"))
        with pytest.raises(DatabaseError, match="division by zero"):
            table.forwards(broken)
        assert state_of() == "none"


class TestAgain:
    def test_it_leaves_a_valid_one_alone_and_says_so(
        self, table: Table, caplog: pytest.LogCaptureFixture
    ) -> None:
        table.forwards(ADD)
        oid = there().oid
        table.again(ADD)
        assert there().oid == oid
        assert "left as it is" in caplog.text

    @pytest.mark.parametrize("kind", KINDS)
    def test_it_knows_each_kind_again(self, table: Table, kind: str) -> None:
        operation = AddIndexSafely("parcel", KINDS[kind])
        table.forwards(operation)
        oid = there(KINDS[kind].name).oid
        table.again(operation)
        assert there(KINDS[kind].name).oid == oid

    @pytest.mark.parametrize(
        "wanted",
        [
            models.Index(fields=["status"], name="parcel_owner"),
            models.Index(fields=["-owner"], name="parcel_owner"),
            models.Index(fields=["owner", "status"], name="parcel_owner"),
            models.Index(fields=["owner"], include=["status"], name="parcel_owner"),
            models.Index(fields=["owner"], condition=models.Q(weight=1), name="parcel_owner"),
            models.Index(fields=["owner"], opclasses=["varchar_pattern_ops"], name="parcel_owner"),
        ],
        ids=["column", "direction", "columns", "include", "condition", "operator class"],
    )
    def test_it_refuses_another_one_of_that_name(self, table: Table, wanted: models.Index) -> None:
        table.forwards(ADD)
        oid = there().oid
        with pytest.raises(IndexConflictError, match=r"There is: CREATE INDEX .*Wanted: CREATE INDEX"):
            table.again(AddIndexSafely("parcel", wanted))
        assert there().oid == oid

    def test_it_refuses_the_name_of_another_tables_index(self, table: Table) -> None:
        with table_of(connection, "indexing_box") as box:
            box.forwards(ADD)
            with pytest.raises(IndexConflictError, match="indexing_box"):
                table.forwards(ADD)
            with pytest.raises(IndexConflictError, match="indexing_box"):
                table.backwards(ADD, table.state)
            assert there(table="indexing_box").is_valid

    def test_it_keeps_no_scratch_table(self, table: Table) -> None:
        table.forwards(ADD)
        table.again(ADD)
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_class WHERE relname = 'perfkit_scratch'")
            assert cursor.fetchone() == (0,)

    def test_it_rebuilds_what_a_killed_build_left(
        self, table: Table, busy: Busy, caplog: pytest.LogCaptureFixture
    ) -> None:
        leave_invalid(table, busy)
        table.forwards(ADD)
        assert state_of() == "valid"
        assert "is invalid, left by a build that did not finish" in caplog.text

    def test_it_rebuilds_what_was_left_of_another_definition(self, table: Table, busy: Busy) -> None:
        leave_invalid(table, busy)
        table.forwards(AddIndexSafely("parcel", models.Index(fields=["status"], name="parcel_owner")))
        assert there().shape.columns == ("status",)
        assert state_of() == "valid"

    def test_it_reverses_what_a_killed_build_left(self, table: Table, busy: Busy) -> None:
        leave_invalid(table, busy)
        table.backwards(ADD, table.state)
        assert state_of() == "none"


class TestBuildInProgress:
    """The process that asked for the index is gone, and the server goes on building."""

    def plain_build(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE INDEX CONCURRENTLY parcel_owner ON {TABLE} (owner)")

    def test_it_does_not_drop_it_but_names_the_builder(self, table: Table, busy: Busy) -> None:
        with busy(WRITE) as release, elsewhere(self.plain_build):
            wait_until(lambda: (index := there()) is not None and index.builder_pid is not None)
            oid, pid = there().oid, there().builder_pid
            with pytest.raises(IndexLockedError, match=f"process {pid} is still building it"):
                table.forwards(HASTY)
            assert there().oid == oid
            release()
        table.again(ADD)
        assert there().oid == oid
        assert state_of() == "valid"

    def test_it_waits_and_then_takes_what_was_built(
        self, table: Table, busy: Busy, other: BaseDatabaseWrapper, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pauses: list[float] = []

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            with other.cursor() as cursor:
                cursor.execute("COMMIT")
            wait_until(lambda: state_of() == "valid")

        monkeypatch.setattr("perfkit.indexing.waiting.time.sleep", pause)
        with busy(WRITE), elsewhere(self.plain_build):
            wait_until(lambda: (index := there()) is not None and index.builder_pid is not None)
            oid = there().oid
            table.forwards(ADD)
        assert pauses == [1]
        assert there().oid == oid


class TestLockTimeout:
    def test_it_drops_the_leftover(self, table: Table, busy: Busy) -> None:
        with (
            busy("SELECT 1 FROM django_migrations", isolation="REPEATABLE READ"),
            pytest.raises(IndexLockedError, match=r"in 1 attempts.*lock timeout") as caught,
        ):
            table.forwards(HASTY)
        assert isinstance(caught.value.__cause__, OperationalError)
        assert state_of() == "none"
        table.forwards(ADD)
        assert state_of() == "valid"

    def test_it_says_so_where_the_leftover_is_locked_too(
        self, table: Table, busy: Busy, caplog: pytest.LogCaptureFixture
    ) -> None:
        with busy(WRITE), pytest.raises(IndexLockedError):
            table.forwards(HASTY)
        assert state_of() == "invalid"
        assert "is left invalid" in caplog.text
        table.forwards(ADD)
        assert state_of() == "valid"

    def test_it_tries_again_and_succeeds_when_the_lock_is_free(
        self, table: Table, busy: Busy, other: BaseDatabaseWrapper, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pauses: list[float] = []

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 2:
                with other.cursor() as cursor:
                    cursor.execute("COMMIT")

        monkeypatch.setattr("perfkit.indexing.waiting.time.sleep", pause)
        patience = Patience(lock_timeout_seconds=0.1, attempts=4, pause_seconds=0.5)
        with busy(f"LOCK TABLE {TABLE} IN SHARE MODE"), connection.schema_editor(atomic=False) as editor:
            build_index(editor, of_index(table.model, INDEX), patience)
        assert pauses == [0.5, 1]
        assert state_of() == "valid"

    def test_it_limits_the_wait_of_a_drop_too(self, table: Table, busy: Busy) -> None:
        table.forwards(ADD)
        patience = Patience(lock_timeout_seconds=0.1, attempts=1)
        with (
            busy(WRITE),
            connection.schema_editor(atomic=False) as editor,
            pytest.raises(IndexLockedError),
        ):
            drop_index(editor, TABLE, INDEX.name, patience)
        table.forwards(REMOVE)
        assert state_of() == "none"


class TestSettings:
    @pytest.fixture(autouse=True)
    def own_settings(self, transactional_db: None) -> Iterator[None]:
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '7s'")
            cursor.execute("SET statement_timeout = '77s'")
        yield
        assert (setting("lock_timeout"), setting("statement_timeout")) == ("7s", "77s")
        connection.close()

    def test_it_restores_them_after_success(self, table: Table) -> None:
        seen: dict[str, str] = {}

        def look(execute: Callable[..., Any], sql: str, *args: Any) -> Any:
            if sql.startswith("CREATE INDEX CONCURRENTLY"):
                seen.update(lock=setting("lock_timeout"), statement=setting("statement_timeout"))
            return execute(sql, *args)

        with connection.execute_wrapper(look):
            table.forwards(ADD)
        assert seen == {"lock": "30s", "statement": "0"}

    def test_it_ends_a_build_that_takes_longer_than_it_is_told(self, table: Table, busy: Busy) -> None:
        brief = AddIndexSafely("parcel", INDEX, statement_timeout_seconds=0.1)
        with busy("SELECT 1 FROM django_migrations", isolation="REPEATABLE READ"):
            with pytest.raises(OperationalError, match="statement timeout"):
                table.forwards(brief)
            assert state_of() == "none"

    def test_it_restores_them_after_a_lock_timeout(self, table: Table, busy: Busy) -> None:
        with busy(WRITE), pytest.raises(IndexLockedError):
            table.forwards(HASTY)

    def test_it_restores_them_after_a_conflict(self, table: Table) -> None:
        table.forwards(ADD)
        with pytest.raises(IndexConflictError):
            table.again(AddIndexSafely("parcel", models.Index(fields=["status"], name="parcel_owner")))

    def test_it_restores_them_after_an_error(self, table: Table) -> None:
        table.fill(400)
        with pytest.raises(DatabaseError, match="division by zero"):
            table.forwards(AddIndexSafely("parcel", models.Index(1 / (models.F("weight") - 7), name="x")))

    def test_it_restores_them_after_a_drop(self, table: Table) -> None:
        table.forwards(ADD)
        table.forwards(REMOVE)


class TestDrop:
    def test_it_reverses_and_may_be_run_again(self, table: Table) -> None:
        before = table.state
        table.forwards(ADD)
        table.backwards(ADD, before)
        assert state_of() == "none"
        table.backwards(ADD, before)

    def test_it_removes_and_reverses(self, table: Table) -> None:
        table.forwards(ADD)
        with_index = table.state
        table.forwards(REMOVE)
        assert state_of() == "none"
        table.backwards(REMOVE, with_index)
        assert state_of() == "valid"

    def test_it_finishes_a_removal_that_was_killed(self, table: Table, busy: Busy) -> None:
        table.forwards(ADD)
        hasty = RemoveIndexSafely("parcel", "parcel_owner", lock_timeout_seconds=0.1, attempts=1)
        with busy(WRITE), pytest.raises(IndexLockedError):
            table.forwards(hasty)
        assert state_of() == "invalid"
        table.forwards(REMOVE)
        assert state_of() == "none"

    def test_it_refuses_a_transaction(self, table: Table) -> None:
        table.forwards(ADD)
        after = table.state.clone()
        REMOVE.state_forwards(APP, after)
        with (
            pytest.raises(AtomicMigrationError, match="RemoveIndexSafely"),
            connection.schema_editor(atomic=True) as editor,
        ):
            REMOVE.database_forwards(APP, editor, table.state, after)
