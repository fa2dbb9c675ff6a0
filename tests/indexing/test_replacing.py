from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, models
from django.db.migrations import AddIndex, RemoveIndex
from django.db.migrations.autodetector import MigrationAutodetector

from perfkit.errors import AtomicMigrationError, IndexConflictError, IndexLockedError
from perfkit.indexing import AddIndexSafely, RenameIndexSafely, ReplaceIndexSafely
from perfkit.indexing.partitions import derived_name
from perfkit.postgres.catalogue import find_index
from tests.indexing.tables import APP, TABLE, Table

OLD = models.Index(fields=["owner"], name="parcel_owner")
NEW = models.Index(fields=["owner", "status"], name="parcel_owner_status")
SAME_NAME = models.Index(fields=["owner", "status"], name="parcel_owner")
ADD = AddIndexSafely("parcel", OLD)
RENAME = RenameIndexSafely("parcel", "parcel_whose", "parcel_owner")
REPLACE = ReplaceIndexSafely("parcel", "parcel_owner", NEW)
REPLACE_IN_PLACE = ReplaceIndexSafely("parcel", "parcel_owner", SAME_NAME)

Busy = Callable[..., Any]


def indexes() -> dict[str, bool]:
    """Return the indexes of the table that migrations have made, with whether each is valid."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname, x.indisvalid FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid "
            "WHERE x.indrelid = %s::regclass AND NOT x.indisprimary",
            [TABLE],
        )
        return dict(cursor.fetchall())


def columns(name: str) -> tuple[str, ...]:
    return find_index(connection, TABLE, name).shape.columns


def sql(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


@pytest.mark.postgres
class TestRename:
    def test_it_renames_and_reverses(self, table: Table) -> None:
        table.forwards(ADD)
        with_old, oid = table.state, find_index(connection, TABLE, "parcel_owner").oid
        table.forwards(RENAME)
        assert indexes() == {"parcel_whose": True}
        table.backwards(RENAME, with_old)
        assert find_index(connection, TABLE, "parcel_owner").oid == oid

    def test_it_may_be_run_again(self, table: Table) -> None:
        table.forwards(ADD)
        before = table.state
        table.forwards(RENAME)
        table.rerun(RENAME, before)
        assert indexes() == {"parcel_whose": True}

    def test_it_builds_an_invalid_one_anew(self, table: Table, busy: Busy) -> None:
        table.forwards(ADD)
        hasty = ReplaceIndexSafely("parcel", "parcel_owner", NEW, lock_timeout_seconds=0.1, attempts=1)
        with (
            busy(f"INSERT INTO {TABLE} (owner, status, labels, created) VALUES ('a', 'b', '{{}}', now())"),
            pytest.raises(IndexLockedError),
        ):
            table.forwards(hasty)
        assert indexes() == {"parcel_owner": True, "parcel_owner_status": False}
        sql("DROP INDEX parcel_owner; ALTER INDEX parcel_owner_status RENAME TO parcel_owner")
        table.forwards(RENAME)
        assert indexes() == {"parcel_whose": True}
        assert columns("parcel_whose") == ("owner",)

    def test_it_refuses_a_name_that_is_taken(self, table: Table) -> None:
        table.forwards(ADD)
        sql(f"CREATE INDEX parcel_whose ON {TABLE} (status)")
        with pytest.raises(IndexConflictError, match="parcel_whose"):
            table.forwards(RENAME)
        assert indexes() == {"parcel_owner": True, "parcel_whose": True}

    def test_it_refuses_a_transaction(self, table: Table) -> None:
        table.forwards(ADD)
        after = table.state.clone()
        RENAME.state_forwards(APP, after)
        with (
            pytest.raises(AtomicMigrationError, match="RenameIndexSafely"),
            connection.schema_editor(atomic=True) as editor,
        ):
            RENAME.database_forwards(APP, editor, table.state, after)

    def test_it_waits_no_longer_than_it_is_told(self, table: Table, busy: Busy) -> None:
        table.forwards(ADD)
        hasty = RenameIndexSafely(
            "parcel", "parcel_whose", "parcel_owner", lock_timeout_seconds=0.1, attempts=1
        )
        with busy(f"LOCK TABLE {TABLE}"), pytest.raises(IndexLockedError, match="lock timeout"):
            table.forwards(hasty)
        assert indexes() == {"parcel_owner": True}


@pytest.mark.postgres
class TestReplace:
    def test_it_builds_the_new_one_and_drops_the_old_one(self, table: Table) -> None:
        table.fill(500)
        table.forwards(ADD)
        with_old = table.state
        table.forwards(REPLACE)
        assert indexes() == {"parcel_owner_status": True}
        table.backwards(REPLACE, with_old)
        assert indexes() == {"parcel_owner": True}

    def test_it_has_one_of_them_all_the_time(self, table: Table) -> None:
        table.forwards(ADD)
        seen: list[tuple[str, dict[str, bool]]] = []

        def look(execute: Callable[..., Any], statement: str, *args: Any) -> Any:
            if "CONCURRENTLY" in statement:
                with connection.connection.cursor() as raw:
                    raw.execute(
                        "SELECT c.relname FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid "
                        "WHERE x.indisvalid AND c.relname LIKE 'parcel%'"
                    )
                    seen.append((statement.split(" ", maxsplit=1)[0], {name for (name,) in raw.fetchall()}))
            return execute(statement, *args)

        with connection.execute_wrapper(look):
            table.forwards(REPLACE)
        assert seen == [("CREATE", {"parcel_owner"}), ("DROP", {"parcel_owner", "parcel_owner_status"})]

    def test_it_may_be_run_again(self, table: Table) -> None:
        table.forwards(ADD)
        before = table.state
        table.forwards(REPLACE)
        table.rerun(REPLACE, before)
        assert indexes() == {"parcel_owner_status": True}

    def test_it_goes_on_where_a_build_was_left(self, table: Table, busy: Busy) -> None:
        table.forwards(ADD)
        hasty = ReplaceIndexSafely("parcel", "parcel_owner", NEW, lock_timeout_seconds=0.1, attempts=1)
        with (
            busy(f"INSERT INTO {TABLE} (owner, status, labels, created) VALUES ('a', 'b', '{{}}', now())"),
            pytest.raises(IndexLockedError),
        ):
            table.forwards(hasty)
        assert indexes() == {"parcel_owner": True, "parcel_owner_status": False}
        table.forwards(REPLACE)
        assert indexes() == {"parcel_owner_status": True}


@pytest.mark.postgres
class TestReplaceInPlace:
    def test_it_replaces_one_of_the_same_name_and_reverses(self, table: Table) -> None:
        table.forwards(ADD)
        with_old = table.state
        table.forwards(REPLACE_IN_PLACE)
        assert indexes() == {"parcel_owner": True}
        assert columns("parcel_owner") == ("owner", "status")
        table.backwards(REPLACE_IN_PLACE, with_old)
        assert columns("parcel_owner") == ("owner",)

    @pytest.mark.parametrize("steps", [1, 2, 3])
    def test_it_goes_on_after_each_step(self, table: Table, steps: int) -> None:
        table.forwards(ADD)
        before = table.state
        done = 0

        class KilledError(Exception):
            pass

        def kill(execute: Callable[..., Any], statement: str, *args: Any) -> Any:
            nonlocal done
            if statement.startswith(("CREATE INDEX CONC", "DROP INDEX CONC", "ALTER INDEX")):
                if done == steps:
                    raise KilledError
                done += 1
            return execute(statement, *args)

        if steps < 3:
            with connection.execute_wrapper(kill), pytest.raises(KilledError):
                table.forwards(REPLACE_IN_PLACE)
            assert len(indexes()) == (2 if steps == 1 else 1)
        table.forwards(REPLACE_IN_PLACE)
        table.rerun(REPLACE_IN_PLACE, before)
        assert indexes() == {"parcel_owner": True}
        assert columns("parcel_owner") == ("owner", "status")

    def test_it_drops_what_an_earlier_run_no_longer_needs(self, table: Table) -> None:
        table.forwards(ADD)
        before = table.state
        table.forwards(REPLACE_IN_PLACE)
        sql(f"CREATE INDEX {derived_name('parcel_owner', 'new')} ON {TABLE} (owner, status)")
        table.rerun(REPLACE_IN_PLACE, before)
        assert indexes() == {"parcel_owner": True}

    def test_it_prints_its_statements(self, table: Table) -> None:
        table.forwards(ADD)
        new = derived_name("parcel_owner", "new")
        assert table.sql(REPLACE_IN_PLACE) == [
            f'CREATE INDEX CONCURRENTLY "{new}" ON "{TABLE}" ("owner", "status");',
            'DROP INDEX CONCURRENTLY IF EXISTS "parcel_owner";',
            f'ALTER INDEX "{new}" RENAME TO "parcel_owner";',
        ]


class TestState:
    @pytest.mark.parametrize("new", [NEW, SAME_NAME])
    def test_it_is_to_migrations_the_removal_and_the_addition(self, new: models.Index) -> None:
        safe, plain = Table(connection).state, Table(connection).state
        for operation in (ADD, ReplaceIndexSafely("Parcel", "parcel_owner", new)):
            operation.state_forwards(APP, safe)
        for operation in (AddIndex("parcel", OLD), RemoveIndex("parcel", OLD.name), AddIndex("parcel", new)):
            operation.state_forwards(APP, plain)
        assert MigrationAutodetector(safe, plain)._detect_changes() == {}
        assert MigrationAutodetector(plain, safe)._detect_changes() == {}

    def test_it_describes_itself(self) -> None:
        assert REPLACE.describe() == (
            "Replace index parcel_owner of parcel by parcel_owner_status, without blocking writes"
        )
        assert REPLACE.migration_name_fragment == "replace_parcel_owner_parcel_owner_status"

    def test_it_deconstructs(self) -> None:
        operation = ReplaceIndexSafely("parcel", "parcel_owner", NEW, statement_timeout_seconds=9)
        name, _, kwargs = operation.deconstruct()
        assert name == "ReplaceIndexSafely"
        assert ReplaceIndexSafely(**kwargs).deconstruct() == operation.deconstruct()
        name, _, kwargs = RENAME.deconstruct()
        assert RenameIndexSafely(**kwargs).deconstruct() == RENAME.deconstruct()

    def test_it_keeps_its_waiting_when_squashed(self) -> None:
        first = RenameIndexSafely("parcel", "b", "a", attempts=2)
        (both,) = first.reduce(RenameIndexSafely("parcel", "c", "b"), APP)
        assert both.deconstruct()[2] == {
            "model_name": "parcel",
            "new_name": "c",
            "old_name": "a",
            "attempts": 2,
        }

    def test_it_refuses_an_index_without_a_name(self) -> None:
        with pytest.raises(ValueError, match="require a name"):
            ReplaceIndexSafely("parcel", "parcel_owner", models.Index(fields=["owner"]))


class TestSQLite:
    def made(self, table: Table) -> dict[str, str]:
        with table.connection.cursor() as cursor:
            cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index'")
            return dict(cursor.fetchall())

    @pytest.mark.parametrize("operation", [RENAME, REPLACE, REPLACE_IN_PLACE])
    def test_it_works_plainly_and_again(self, sqlite_table: Table, operation: Any) -> None:
        sqlite_table.forwards(ADD)
        before = sqlite_table.state
        sqlite_table.forwards(operation)
        sqlite_table.rerun(operation, before)
        name = {RENAME: "parcel_whose", REPLACE: "parcel_owner_status"}.get(operation, "parcel_owner")
        statement = self.made(sqlite_table)[name]
        assert list(self.made(sqlite_table)) == [name]
        assert ("status" in statement) is (operation is not RENAME)
        sqlite_table.backwards(operation, before)
        assert list(self.made(sqlite_table)) == ["parcel_owner"]
