from __future__ import annotations

import ast

import pytest
from django.core.management import call_command
from django.db import connection, models
from django.db.migrations import AddIndex, CreateModel, Migration, RenameIndex
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.optimizer import MigrationOptimizer
from django.db.migrations.state import ProjectState
from django.db.migrations.writer import MigrationWriter
from django.test.utils import CaptureQueriesContext

from perfkit.errors import AtomicMigrationError, IndexConflictError
from perfkit.indexing import AddIndexSafely, RemoveIndexSafely
from tests.indexing.tables import APP, KINDS, Table

INDEX = models.Index(fields=["owner", "-created"], name="parcel_owner")
ADD = AddIndexSafely("parcel", INDEX)
REMOVE = RemoveIndexSafely("parcel", "parcel_owner")


def changes(before: ProjectState, after: ProjectState) -> dict[str, list[Migration]]:
    return MigrationAutodetector(before, after)._detect_changes()


class TestState:
    @pytest.mark.parametrize("index", KINDS.values(), ids=KINDS)
    def test_it_is_to_migrations_the_same_as_the_plain_operation(self, index: models.Index) -> None:
        safe, plain = Table(connection).state, Table(connection).state
        AddIndexSafely("Parcel", index).state_forwards(APP, safe)
        AddIndex("Parcel", index).state_forwards(APP, plain)
        assert changes(safe, plain) == {}
        assert changes(plain, safe) == {}

    def test_it_takes_the_index_out_of_the_state_again(self) -> None:
        state = Table(connection).state
        ADD.state_forwards(APP, state)
        REMOVE.state_forwards(APP, state)
        assert changes(Table(connection).state, state) == {}

    def test_it_leaves_nothing_to_make_in_the_demo(self, db: None) -> None:
        call_command("makemigrations", "flights", check=True, dry_run=True, verbosity=0)

    def test_it_disappears_with_its_removal_when_squashed(self) -> None:
        assert MigrationOptimizer().optimize([ADD, REMOVE], APP) == []

    def test_it_goes_into_the_table_it_is_squashed_with(self) -> None:
        create = CreateModel("Parcel", [("id", models.BigAutoField(primary_key=True))])
        (squashed,) = MigrationOptimizer().optimize([create, AddIndexSafely("Parcel", KINDS["single"])], APP)
        assert squashed.options["indexes"] == [KINDS["single"]]

    def test_it_keeps_its_waiting_when_squashed_with_a_new_name(self) -> None:
        operation = AddIndexSafely("parcel", INDEX.clone(), lock_timeout_seconds=3, attempts=2)
        (renamed,) = operation.reduce(RenameIndex("parcel", new_name="fresh", old_name="parcel_owner"), APP)
        assert renamed.deconstruct() == (
            "AddIndexSafely",
            [],
            {
                "model_name": "parcel",
                "index": models.Index(fields=["owner", "-created"], name="fresh"),
                "lock_timeout_seconds": 3,
                "attempts": 2,
            },
        )
        assert operation.index.name == "parcel_owner"

    @pytest.mark.parametrize("index", KINDS.values(), ids=KINDS)
    def test_it_is_written_into_a_migration_file_that_reads_back(self, index: models.Index) -> None:
        migration = type("Migration", (Migration,), {"operations": [], "dependencies": []})("0001_index", APP)
        migration.operations = [
            AddIndexSafely("parcel", index, lock_timeout_seconds=2.5),
            RemoveIndexSafely("parcel", index.name, attempts=1),
        ]
        text = MigrationWriter(migration, include_header=False).as_string()
        namespace: dict[str, type[Migration]] = {}
        exec(compile(ast.parse(text), "0001_index.py", "exec"), namespace)  # noqa: S102  # the file just written
        add, remove = namespace["Migration"].operations
        assert add.deconstruct() == migration.operations[0].deconstruct()
        assert remove.deconstruct() == migration.operations[1].deconstruct()

    def test_it_says_nothing_of_the_waiting_where_it_is_the_usual(self) -> None:
        assert ADD.deconstruct()[2] == {"model_name": "parcel", "index": INDEX}
        assert REMOVE.deconstruct()[2] == {"model_name": "parcel", "name": "parcel_owner"}


class TestPlan:
    def test_it_describes_itself(self) -> None:
        assert ADD.describe() == (
            "Create index parcel_owner on field(s) owner, -created of model parcel, without blocking writes"
        )
        assert REMOVE.describe() == (
            "Remove index parcel_owner from parcel, without blocking reads or writes"
        )
        assert "Lower(F(owner))" in AddIndexSafely("parcel", KINDS["expression"]).describe()

    def test_it_is_listed_by_migrate_plan(self, db: None, capsys: pytest.CaptureFixture[str]) -> None:
        call_command("migrate", "flights", "0001", plan=True)
        assert "flight_airline_time" in capsys.readouterr().out


@pytest.mark.postgres
class TestSQL:
    CREATE = 'CREATE INDEX CONCURRENTLY "parcel_owner" ON "indexing_parcel" ("owner", "created" DESC);'
    DROP = 'DROP INDEX CONCURRENTLY IF EXISTS "parcel_owner";'

    def test_it_prints_the_statement_without_touching_the_database(self, transactional_db: None) -> None:
        table = Table(connection)
        with CaptureQueriesContext(connection) as queries:
            assert table.sql(ADD) == [self.CREATE]
            assert table.sql(ADD, backwards=True) == [self.DROP]
            ADD.state_forwards(APP, table.state)
            assert table.sql(REMOVE) == [self.DROP]
            assert table.sql(REMOVE, backwards=True) == [self.CREATE]
        assert len(queries) == 0

    def test_it_names_the_schema_where_the_table_does(self, transactional_db: None) -> None:
        table = Table(connection, '"stock"."parcel"')
        assert table.sql(ADD, backwards=True) == ['DROP INDEX CONCURRENTLY IF EXISTS "stock"."parcel_owner";']

    def test_it_escapes_what_a_condition_says(self, transactional_db: None) -> None:
        index = models.Index(fields=["owner"], condition=models.Q(status="it's 100%"), name="odd")
        (statement,) = Table(connection).sql(AddIndexSafely("parcel", index))
        assert statement.endswith("WHERE \"status\" = 'it''s 100%';")

    def test_it_refuses_an_atomic_migration_and_says_what_to_write(self, transactional_db: None) -> None:
        with pytest.raises(AtomicMigrationError, match="`atomic = False`"):
            Table(connection).sql(ADD, atomic=True)


class NowhereRouter:
    def allow_migrate(self, db: str, app_label: str, **hints: object) -> bool:
        return app_label != APP


class TestRouters:
    def test_it_does_nothing_where_the_model_does_not_live(
        self, transactional_db: None, settings: pytest.FixtureRequest
    ) -> None:
        settings.DATABASE_ROUTERS = [NowhereRouter()]
        table = Table(connection)  # there is no such table, so that any statement about it would fail
        table.forwards(ADD)
        table.backwards(ADD, Table(connection).state)
        assert table.sql(REMOVE) == []


class TestSQLite:
    def names(self, table: Table) -> list[str]:
        with table.connection.cursor() as cursor:
            cursor.execute("SELECT name FROM sqlite_master WHERE type = 'index'")
            return [name for (name,) in cursor.fetchall()]

    def test_it_builds_and_drops_plainly(self, sqlite_table: Table) -> None:
        before = sqlite_table.state
        assert sqlite_table.sql(ADD) == [
            'CREATE INDEX "parcel_owner" ON "indexing_parcel" ("owner", "created" DESC);'
        ]
        sqlite_table.forwards(ADD)
        assert self.names(sqlite_table) == ["parcel_owner"]
        sqlite_table.backwards(ADD, before)
        assert self.names(sqlite_table) == []

    def test_it_runs_again_after_a_migration_that_failed_later(self, sqlite_table: Table) -> None:
        before = sqlite_table.state
        sqlite_table.forwards(ADD)
        sqlite_table.again(ADD)
        assert self.names(sqlite_table) == ["parcel_owner"]
        sqlite_table.backwards(ADD, before)
        sqlite_table.backwards(ADD, before)
        assert self.names(sqlite_table) == []

    def test_it_removes_and_reverses(self, sqlite_table: Table) -> None:
        sqlite_table.forwards(ADD)
        with_index = sqlite_table.state
        sqlite_table.forwards(REMOVE)
        assert self.names(sqlite_table) == []
        sqlite_table.backwards(REMOVE, with_index)
        assert self.names(sqlite_table) == ["parcel_owner"]

    def test_it_refuses_another_index_of_that_name(self, sqlite_table: Table) -> None:
        sqlite_table.forwards(ADD)
        with pytest.raises(IndexConflictError, match='"weight"'):
            sqlite_table.again(AddIndexSafely("parcel", models.Index(fields=["weight"], name="parcel_owner")))

    def test_it_runs_inside_a_transaction_too(self, sqlite_table: Table) -> None:
        after = sqlite_table.state.clone()
        ADD.state_forwards(APP, after)
        with sqlite_table.connection.schema_editor(atomic=True) as editor:
            ADD.database_forwards(APP, editor, sqlite_table.state, after)
        assert self.names(sqlite_table) == ["parcel_owner"]

    @pytest.mark.parametrize("kind", sorted(set(KINDS) - {"brin", "gin", "hash", "storage"}))
    def test_it_builds_each_kind(self, sqlite_table: Table, kind: str) -> None:
        sqlite_table.forwards(AddIndexSafely("parcel", KINDS[kind]))
        assert self.names(sqlite_table) == [KINDS[kind].name]
