from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.postgres.constraints import ExclusionConstraint
from django.db import IntegrityError, connection, models
from django.db.migrations import AddConstraint, AddField, AlterField, RemoveConstraint
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.state import ModelState
from django.db.models import CheckConstraint, Deferrable, F, Q, UniqueConstraint
from django.db.models.functions import Lower

from perfkit.errors import (
    AtomicMigrationError,
    ConstraintViolatedError,
    FieldChangeError,
    IndexConflictError,
    IndexLockedError,
)
from perfkit.indexing import (
    AddConstraintSafely,
    AddForeignKeySafely,
    AlterForeignKeySafely,
    RemoveConstraintSafely,
)
from perfkit.postgres.catalogue import find_index
from perfkit.postgres.constraints import find_constraint
from tests.indexing.tables import APP, TABLE, Table

UNIQUE = {
    "plain": UniqueConstraint(fields=["owner", "status"], name="parcel_once"),
    "deferred": UniqueConstraint(fields=["owner"], name="parcel_once", deferrable=Deferrable.DEFERRED),
    "deferrable": UniqueConstraint(fields=["owner"], name="parcel_once", deferrable=Deferrable.IMMEDIATE),
    "nulls are equal": UniqueConstraint(fields=["weight"], name="parcel_once", nulls_distinct=False),
    "partial": UniqueConstraint(fields=["owner"], condition=Q(status="lost"), name="parcel_once"),
    "covering": UniqueConstraint(fields=["owner"], include=["weight"], name="parcel_once"),
    "expression": UniqueConstraint(Lower("owner"), F("status"), name="parcel_once"),
    "operator class": UniqueConstraint(
        fields=["owner"], opclasses=["varchar_pattern_ops"], name="parcel_once"
    ),
}
ONLY_INDEX = {"partial", "covering", "expression", "operator class"}
CHECK = CheckConstraint(condition=Q(weight__gte=0) & ~Q(status="100%"), name="parcel_weight")
ADD = AddConstraintSafely("parcel", UNIQUE["plain"])
ADD_CHECK = AddConstraintSafely("parcel", CHECK)

Busy = Callable[..., Any]


class KilledError(Exception):
    """What ends an operation half-way."""


def sql(statement: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def rows(*owners: str, weight: str = "1", status: str = "sent") -> None:
    for owner in owners:
        sql(
            f"INSERT INTO {TABLE} (owner, status, weight, labels, created) "
            f"VALUES ('{owner}', '{status}', {weight}, '{{}}', now())"
        )


def killed_after(steps: int, *beginnings: str) -> Any:
    """Raise before the statement that follows so many of those that begin so."""
    done = 0

    def kill(execute: Callable[..., Any], statement: str, *args: Any) -> Any:
        nonlocal done
        if statement.startswith(beginnings) and "perfkit_scratch" not in statement:
            if done == steps:
                raise KilledError
            done += 1
        return execute(statement, *args)

    return connection.execute_wrapper(kill)


def schema() -> list[Any]:
    """Return all indexes and constraints of the table, as PostgreSQL writes them."""
    return sql(
        f"SELECT conname::text, pg_get_constraintdef(oid), convalidated FROM pg_constraint "
        f"WHERE conrelid = '{TABLE}'::regclass UNION ALL SELECT indexrelid::regclass::text, "
        f"pg_get_indexdef(indexrelid), indisvalid FROM pg_index WHERE indrelid = '{TABLE}'::regclass ORDER BY 1, 2"
    )


@pytest.mark.postgres
class TestUnique:
    @pytest.mark.parametrize("kind", UNIQUE)
    def test_it_leaves_what_the_plain_operation_leaves(self, table: Table, kind: str) -> None:
        before, empty = table.state, schema()
        plain = AddConstraint("parcel", UNIQUE[kind])
        table.forwards(plain)
        wanted = schema()
        table.backwards(plain, before)
        table.state = before
        safe = AddConstraintSafely("parcel", UNIQUE[kind])
        table.forwards(safe)
        assert schema() == wanted
        table.rerun(safe, before)
        assert schema() == wanted
        table.backwards(safe, before)
        assert schema() == empty
        table.backwards(safe, before)

    @pytest.mark.parametrize("kind", UNIQUE)
    def test_it_is_dropped_and_had_again_by_its_counterpart(self, table: Table, kind: str) -> None:
        empty = schema()
        table.forwards(AddConstraintSafely("parcel", UNIQUE[kind]))
        with_it, wanted = table.state, schema()
        remove = RemoveConstraintSafely("parcel", "parcel_once")
        table.forwards(remove)
        assert schema() == empty
        table.backwards(remove, with_it)
        assert schema() == wanted

    def test_it_builds_the_index_concurrently(self, table: Table) -> None:
        statements: list[str] = []

        def look(execute: Callable[..., Any], statement: str, *args: Any) -> Any:
            statements.append(statement)
            return execute(statement, *args)

        with connection.execute_wrapper(look):
            table.forwards(ADD)
        made = [each for each in statements if each.startswith(("CREATE", "ALTER"))]
        assert made == table.sql_of(ADD)

    def test_it_goes_on_where_the_index_was_built(self, table: Table) -> None:
        with killed_after(0, "ALTER TABLE"), pytest.raises(KilledError):
            table.forwards(ADD)
        oid = find_index(connection, TABLE, "parcel_once").oid
        assert find_constraint(connection, TABLE, "parcel_once") is None
        table.forwards(ADD)
        assert find_index(connection, TABLE, "parcel_once").oid == oid
        assert find_constraint(connection, TABLE, "parcel_once").kind == "u"

    def test_it_goes_back_where_the_index_was_built(self, table: Table) -> None:
        empty = schema()
        with killed_after(0, "ALTER TABLE"), pytest.raises(KilledError):
            table.forwards(ADD)
        table.backwards(ADD, table.state)
        assert schema() == empty

    @pytest.mark.parametrize(
        ("kind", "said"),
        [
            ("plain", "5 rows share 2 values"),
            ("nulls are equal", "6 rows share 2 values"),
            ("partial", "2 rows share 1 values"),
            ("expression", "6 rows share 2 values"),
        ],
    )
    def test_it_says_how_many_rows_are_not_unique_and_leaves_nothing(
        self, table: Table, kind: str, said: str
    ) -> None:
        rows("a", "a", "a", "A")
        rows("b", "b", weight="NULL", status="lost")
        empty = schema()
        with pytest.raises(ConstraintViolatedError, match=said) as caught:
            table.forwards(AddConstraintSafely("parcel", UNIQUE[kind]))
        assert isinstance(caught.value.__cause__, IntegrityError)
        assert schema() == empty
        found = sql(caught.value.statement)
        assert f"{sum(row[-1] for row in found)} rows share {len(found)} values" == said

    def test_it_refuses_another_one_of_that_name(self, table: Table) -> None:
        table.forwards(ADD)
        wanted = schema()
        for kind in ("deferred", "partial", "nulls are equal"):
            again = Table(connection)
            with pytest.raises(IndexConflictError, match="parcel_once"):
                again.forwards(AddConstraintSafely("parcel", UNIQUE[kind]))
        assert schema() == wanted

    def test_it_waits_no_longer_than_it_is_told(self, table: Table, busy: Busy) -> None:
        hasty = AddConstraintSafely("parcel", UNIQUE["plain"], lock_timeout_seconds=0.1, attempts=1)
        with busy(f"LOCK TABLE {TABLE} IN ROW EXCLUSIVE MODE"), pytest.raises(IndexLockedError):
            table.forwards(hasty)
        table.forwards(ADD)
        assert find_constraint(connection, TABLE, "parcel_once").kind == "u"

    def test_it_refuses_a_transaction(self, table: Table) -> None:
        after = table.state.clone()
        ADD.state_forwards(APP, after)
        with (
            pytest.raises(AtomicMigrationError, match="AddConstraintSafely"),
            connection.schema_editor(atomic=True) as editor,
        ):
            ADD.database_forwards(APP, editor, table.state, after)


@pytest.mark.postgres
class TestCheck:
    def test_it_leaves_what_the_plain_operation_leaves(self, table: Table) -> None:
        before, empty = table.state, schema()
        rows("a", "b")
        table.forwards(AddConstraint("parcel", CHECK))
        wanted = schema()
        table.backwards(AddConstraint("parcel", CHECK), before)
        table.state = before
        table.forwards(ADD_CHECK)
        table.rerun(ADD_CHECK, before)
        assert schema() == wanted
        table.backwards(ADD_CHECK, before)
        assert schema() == empty

    def test_it_validates_in_a_second_step(self, table: Table) -> None:
        with killed_after(1, "ALTER TABLE"), pytest.raises(KilledError):
            table.forwards(ADD_CHECK)
        assert not find_constraint(connection, TABLE, "parcel_weight").is_valid
        with pytest.raises(IntegrityError):
            rows("a", weight="-1")
        table.forwards(ADD_CHECK)
        assert find_constraint(connection, TABLE, "parcel_weight").is_valid

    def test_it_says_how_many_rows_do_not_meet_it_and_leaves_nothing(self, table: Table) -> None:
        rows("a", "b", weight="-1")
        rows("c")
        empty = schema()
        with pytest.raises(ConstraintViolatedError, match="2 rows do not meet it") as caught:
            table.forwards(ADD_CHECK)
        assert schema() == empty
        assert len(sql(caught.value.statement)) == 2

    def test_it_refuses_another_one_of_that_name(self, table: Table) -> None:
        table.forwards(ADD_CHECK)
        other = CheckConstraint(condition=Q(weight__gte=1), name="parcel_weight")
        with pytest.raises(IndexConflictError, match=r"There is: CHECK"):
            Table(connection).forwards(AddConstraintSafely("parcel", other))


PLACE = ModelState(
    APP, "IndexedPlace", [("id", models.BigAutoField(primary_key=True)), ("name", models.TextField())], {}
)
LABEL = ModelState(APP, "IndexedTag", [("code", models.CharField(primary_key=True, max_length=9))], {})
FIELDS: dict[str, Any] = {
    "plain": lambda: models.ForeignKey("testapp.IndexedPlace", models.CASCADE, null=True),
    "text": lambda: models.ForeignKey("testapp.IndexedTag", models.CASCADE, null=True),
    "one to one": lambda: models.OneToOneField("testapp.IndexedPlace", models.CASCADE, null=True),
    "without index": lambda: models.ForeignKey(
        "testapp.IndexedPlace", models.CASCADE, null=True, db_index=False
    ),
    "without constraint": lambda: models.ForeignKey(
        "testapp.IndexedPlace", models.CASCADE, null=True, db_constraint=False
    ),
    "itself": lambda: models.ForeignKey("testapp.Parcel", models.CASCADE, null=True),
    "with a default": lambda: models.ForeignKey("testapp.IndexedPlace", models.CASCADE, db_default=1),
}


@pytest.fixture
def related(table: Table) -> Iterator[Table]:
    """The table with two others that it may refer to."""
    for state in (PLACE, LABEL):
        table.state.add_model(state.clone())
        with connection.schema_editor() as editor:
            editor.create_model(table.state.apps.get_model(APP, state.name))
    sql("INSERT INTO testapp_indexedplace (id, name) VALUES (1, 'here')")
    yield table
    sql("DROP TABLE testapp_indexedplace, testapp_indexedtag CASCADE")


@pytest.mark.postgres
class TestAddForeignKey:
    @pytest.mark.parametrize("kind", FIELDS)
    def test_it_leaves_what_the_plain_operation_leaves(self, related: Table, kind: str) -> None:
        rows("a", "b")
        before, empty = related.state, schema()
        plain = AddField("parcel", "origin", FIELDS[kind]())
        related.forwards(plain)
        wanted = schema()
        related.backwards(plain, before)
        related.state = before
        safe = AddForeignKeySafely("parcel", "origin", FIELDS[kind]())
        related.forwards(safe)
        ours = schema()
        if kind == "one to one":
            assert {row[1].split(" ON ")[-1] for row in ours} == {row[1].split(" ON ")[-1] for row in wanted}
        else:
            assert ours == wanted
        related.rerun(safe, before)
        assert schema() == ours
        related.backwards(safe, before)
        assert schema() == empty
        related.backwards(safe, before)

    @pytest.mark.parametrize("steps", range(1, 5))
    def test_it_goes_on_from_wherever_it_was_killed(self, related: Table, steps: int) -> None:
        rows("a")
        safe = AddForeignKeySafely("parcel", "origin", FIELDS["text"]())
        with killed_after(steps, "ALTER TABLE", "CREATE INDEX"), pytest.raises(KilledError):
            related.forwards(safe)
        related.forwards(safe)
        ours = schema()
        assert all(is_valid for *_, is_valid in ours)
        assert sum("origin" in definition for _, definition, _ in ours) == 3

    def test_it_prints_its_statements(self, related: Table) -> None:
        statements = related.sql(AddForeignKeySafely("parcel", "origin", FIELDS["plain"]()))
        assert [each.split(" ")[0] for each in statements] == ["ALTER", "CREATE", "ALTER", "ALTER"]
        assert "REFERENCES" not in statements[0]
        assert statements[1].startswith("CREATE INDEX CONCURRENTLY")
        assert statements[2].endswith("DEFERRABLE INITIALLY DEFERRED NOT VALID;")
        assert "VALIDATE CONSTRAINT" in statements[3]

    def test_it_works_on_partitions(self, related: Table) -> None:
        sql(
            f"DROP TABLE {TABLE};"
            f"CREATE TABLE {TABLE} (id bigint, owner text, status text) PARTITION BY LIST (status);"
            f"CREATE TABLE parcel_one PARTITION OF {TABLE} FOR VALUES IN ('one') PARTITION BY LIST (owner);"
            "CREATE TABLE parcel_one_a PARTITION OF parcel_one FOR VALUES IN ('a');"
            f"CREATE TABLE parcel_two PARTITION OF {TABLE} FOR VALUES IN ('two');"
            f"INSERT INTO {TABLE} VALUES (1, 'a', 'one'), (2, 'b', 'two')"
        )
        before = related.state
        safe = AddForeignKeySafely("parcel", "origin", FIELDS["plain"]())
        related.forwards(safe)
        related.rerun(safe, before)
        made = sql(
            "SELECT conrelid::regclass::text, convalidated FROM pg_constraint "
            "WHERE contype = 'f' AND confrelid = 'testapp_indexedplace'::regclass ORDER BY 1"
        )
        assert made == [(name, True) for name in (TABLE, "parcel_one", "parcel_one_a", "parcel_two")]
        related.backwards(safe, before)
        assert sql(
            "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND conrelid::regclass::text LIKE 'parcel%'"
        ) == [(0,)]


@pytest.mark.postgres
class TestAlterForeignKey:
    @pytest.fixture
    def loose(self, related: Table) -> Table:
        related.forwards(
            AddField("parcel", "origin", models.BigIntegerField(db_column="origin_id", null=True))
        )
        return related

    @pytest.mark.parametrize("kind", ["plain", "one to one", "without index", "without constraint"])
    def test_it_makes_a_number_a_relation_and_goes_back(self, loose: Table, kind: str) -> None:
        before, empty = loose.state, schema()
        rows("a")
        field = FIELDS[kind]()
        plain = AlterField("parcel", "origin", field)
        loose.forwards(plain)
        wanted = schema()
        loose.backwards(plain, before)
        assert schema() == empty
        loose.state = before
        safe = AlterForeignKeySafely("parcel", "origin", field)
        loose.forwards(safe)
        assert {row[1:] for row in schema()} == {row[1:] for row in wanted}
        loose.rerun(safe, before)
        loose.backwards(safe, before)
        assert schema() == empty

    def test_it_gives_a_relation_its_constraint(self, related: Table) -> None:
        related.forwards(AddField("parcel", "origin", FIELDS["without constraint"]()))
        related.forwards(AlterForeignKeySafely("parcel", "origin", FIELDS["plain"]()))
        wanted = schema()
        related.forwards(AlterForeignKeySafely("parcel", "origin", FIELDS["without constraint"]()))
        assert len(schema()) == len(wanted) - 1

    def test_it_says_how_many_values_have_no_row_and_leaves_no_constraint(self, loose: Table) -> None:
        rows("a", "b", "c")
        sql(f"UPDATE {TABLE} SET origin_id = 7 WHERE owner <> 'c'")
        safe = AlterForeignKeySafely("parcel", "origin", FIELDS["plain"]())
        with pytest.raises(ConstraintViolatedError, match="2 rows do not meet it") as caught:
            loose.forwards(safe)
        assert len(sql(caught.value.statement)) == 2
        assert all(is_valid for *_, is_valid in schema())
        assert not any("FOREIGN KEY" in definition for _, definition, _ in schema())
        sql(f"UPDATE {TABLE} SET origin_id = 1")
        loose.forwards(safe)
        assert any("FOREIGN KEY" in definition for _, definition, _ in schema())

    def test_it_refuses_to_change_the_column(self, loose: Table) -> None:
        empty = schema()
        for field in (
            models.ForeignKey("testapp.IndexedPlace", models.CASCADE),
            models.ForeignKey("testapp.IndexedTag", models.CASCADE, null=True),
            models.ForeignKey("testapp.IndexedPlace", models.CASCADE, null=True, db_column="place"),
        ):
            with pytest.raises(FieldChangeError, match=r"testapp\.Parcel\.origin"):
                loose.forwards(AlterForeignKeySafely("parcel", "origin", field))
        assert schema() == empty


class TestState:
    @pytest.mark.parametrize("constraint", [*UNIQUE.values(), CHECK], ids=[*UNIQUE, "check"])
    def test_it_is_to_migrations_the_same_as_the_plain_operation(self, constraint: Any) -> None:
        safe, plain = Table(connection).state, Table(connection).state
        AddConstraintSafely("Parcel", constraint).state_forwards(APP, safe)
        AddConstraint("Parcel", constraint).state_forwards(APP, plain)
        assert MigrationAutodetector(safe, plain)._detect_changes() == {}
        RemoveConstraintSafely("Parcel", constraint.name).state_forwards(APP, safe)
        RemoveConstraint("Parcel", constraint.name).state_forwards(APP, plain)
        assert MigrationAutodetector(plain, safe)._detect_changes() == {}

    def test_it_leaves_the_state_of_the_plain_field_operations(self) -> None:
        safe, plain = Table(connection).state, Table(connection).state
        for state in (safe, plain):
            state.add_model(PLACE.clone())
        changed = models.ForeignKey("testapp.IndexedPlace", models.PROTECT, null=True, db_index=False)
        AddForeignKeySafely("Parcel", "origin", FIELDS["plain"]()).state_forwards(APP, safe)
        AddField("Parcel", "origin", FIELDS["plain"]()).state_forwards(APP, plain)
        assert MigrationAutodetector(safe, plain)._detect_changes() == {}
        AlterForeignKeySafely("Parcel", "origin", changed).state_forwards(APP, safe)
        AlterField("Parcel", "origin", changed).state_forwards(APP, plain)
        assert MigrationAutodetector(plain, safe)._detect_changes() == {}

    @pytest.mark.parametrize(
        "operation",
        [
            AddConstraintSafely("parcel", CHECK, attempts=2),
            RemoveConstraintSafely("parcel", "parcel_once", statement_timeout_seconds=7.0),
            AddForeignKeySafely("parcel", "origin", FIELDS["plain"](), lock_timeout_seconds=3.0),
            AlterForeignKeySafely("parcel", "origin", FIELDS["plain"](), preserve_default=False),
        ],
    )
    def test_it_deconstructs_with_its_waiting(self, operation: Any) -> None:
        name, args, kwargs = operation.deconstruct()
        assert name == type(operation).__name__
        assert args == []
        again = type(operation)(**kwargs)
        assert again.patience == operation.patience
        assert again.deconstruct()[2].keys() == kwargs.keys()
        assert "without blocking" in operation.describe() or "Remove" in operation.describe()

    def test_it_keeps_its_waiting_when_squashed(self) -> None:
        add = AddForeignKeySafely("parcel", "origin", FIELDS["plain"](), attempts=2)
        (both,) = add.reduce(AlterField("parcel", "origin", FIELDS["without index"]()), APP)
        assert (type(both), both.patience.attempts) == (AddForeignKeySafely, 2)
        (plain,) = add.reduce(AlterField("parcel", "origin", models.BigIntegerField()), APP)
        assert type(plain) is AddField
        assert AddConstraintSafely("parcel", CHECK).reduce(RemoveConstraint("parcel", CHECK.name), APP) == []

    def test_it_refuses_what_cannot_be_had_without_blocking(self) -> None:
        exclusion = ExclusionConstraint(name="apart", expressions=[("weight", "=")])
        with pytest.raises(TypeError, match="apart is a ExclusionConstraint"):
            AddConstraintSafely("parcel", exclusion)
        with pytest.raises(TypeError, match="not a IntegerField"):
            AddForeignKeySafely("parcel", "origin", models.IntegerField())


class TestSQLite:
    def made(self, table: Table) -> str:
        with table.connection.cursor() as cursor:
            cursor.execute("SELECT group_concat(sql) FROM sqlite_master WHERE sql IS NOT NULL")
            return cursor.fetchone()[0]

    @pytest.mark.parametrize("kind", ["plain", "partial", "expression"])
    def test_it_works_plainly_and_again(self, sqlite_table: Table, kind: str) -> None:
        before = sqlite_table.state
        add = AddConstraintSafely("parcel", UNIQUE[kind])
        sqlite_table.forwards(add)
        assert "parcel_once" in self.made(sqlite_table)
        sqlite_table.rerun(add, before)
        assert self.made(sqlite_table).count("parcel_once") == 1
        sqlite_table.backwards(add, before)
        sqlite_table.backwards(add, before)
        assert "parcel_once" not in self.made(sqlite_table)

    def test_it_adds_a_check_and_a_foreign_key(self, sqlite_table: Table) -> None:
        before = sqlite_table.state
        sqlite_table.forwards(ADD_CHECK)
        with_check = sqlite_table.state
        add = AddForeignKeySafely("parcel", "origin", FIELDS["itself"]())
        sqlite_table.forwards(add)
        sqlite_table.rerun(add, with_check)
        assert "origin_id" in self.made(sqlite_table)
        sqlite_table.backwards(add, with_check)
        assert "origin_id" not in self.made(sqlite_table)
        sqlite_table.state = with_check
        sqlite_table.backwards(ADD_CHECK, before)
        assert "parcel_weight" not in self.made(sqlite_table)
