"""One table for a test, and migration operations run on it as `migrate` runs them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.contrib.postgres.indexes import BrinIndex, GinIndex, HashIndex
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState
from django.db.models import F, Q
from django.db.models.functions import Lower

from perfkit.indexing import PortableIndex

APP = "testapp"
TABLE = "indexing_parcel"

FIELDS = {
    "id": models.BigAutoField(primary_key=True),
    "owner": models.CharField(max_length=20),
    "status": models.CharField(max_length=10),
    "weight": models.IntegerField(null=True),
    "labels": models.JSONField(default=dict),
    "created": models.DateTimeField(),
}

KINDS = {
    "single": models.Index(fields=["status"], name="kind_single"),
    "composite": models.Index(fields=["owner", "status"], name="kind_composite"),
    "descending": models.Index(fields=["owner", "-created"], name="kind_descending"),
    "partial": models.Index(fields=["created"], condition=Q(status="lost"), name="kind_partial"),
    "covering": models.Index(fields=["owner"], include=["weight"], name="kind_covering"),
    "expression": models.Index(Lower("owner"), name="kind_expression"),
    "nulls last": PortableIndex(F("weight").desc(nulls_last=True), "id", name="kind_nulls"),
    "operator class": models.Index(fields=["owner"], opclasses=["varchar_pattern_ops"], name="kind_opclass"),
    "gin": GinIndex(fields=["labels"], name="kind_gin"),
    "brin": BrinIndex(fields=["created"], pages_per_range=16, name="kind_brin"),
    "hash": HashIndex(fields=["owner"], name="kind_hash"),
    "storage": GinIndex(fields=["labels"], fastupdate=False, name="kind_storage"),
    "quoted": models.Index(fields=["owner", "weight"], name="Kind Quoted"),
}


class Table:
    """A table that exists for one test, and the migration state that knows it."""

    def __init__(
        self, connection: BaseDatabaseWrapper, db_table: str = TABLE, state: ProjectState | None = None
    ) -> None:
        self.connection = connection
        self.name = db_table
        self.state = state or ProjectState()
        fields = [(name, field.clone()) for name, field in FIELDS.items()]
        self.state.add_model(ModelState(APP, "Parcel", fields, {"db_table": db_table, "indexes": []}))

    @property
    def model(self) -> type[models.Model]:
        return self.state.apps.get_model(APP, "Parcel")

    def forwards(self, operation: Operation, connection: BaseDatabaseWrapper | None = None) -> None:
        """Run the operation and keep the state it leads to."""
        before, after = self.state, self.state.clone()
        operation.state_forwards(APP, after)
        with (connection or self.connection).schema_editor(atomic=False) as editor:
            operation.database_forwards(APP, editor, before, after)
        self.state = after

    def rerun(self, operation: Operation, before: ProjectState) -> None:
        """Run an operation that has led from `before` to the present state once more."""
        with self.connection.schema_editor(atomic=False) as editor:
            operation.database_forwards(APP, editor, before, self.state)

    def again(self, operation: Operation) -> None:
        """Run an operation that ran before, as after a migration that failed or was killed behind it."""
        before = self.state.clone()
        if operation.index.name in {index.name for index in before.models[APP, "parcel"].options["indexes"]}:
            before.remove_index(APP, "parcel", operation.index.name)
        with self.connection.schema_editor(atomic=False) as editor:
            operation.database_forwards(APP, editor, before, self.state)

    def backwards(self, operation: Operation, to_state: ProjectState) -> None:
        with self.connection.schema_editor(atomic=False) as editor:
            operation.database_backwards(APP, editor, self.state, to_state)

    def sql(self, operation: Operation, *, backwards: bool = False, atomic: bool = False) -> list[str]:
        """Return what sqlmigrate prints."""
        before, after = self.state, self.state.clone()
        operation.state_forwards(APP, after)
        with self.connection.schema_editor(collect_sql=True, atomic=atomic) as editor:
            if backwards:
                operation.database_backwards(APP, editor, after, before)
            else:
                operation.database_forwards(APP, editor, before, after)
        return editor.collected_sql

    def sql_of(self, operation: Operation) -> list[str]:
        """Return the statements of an operation that has led to the present state, as they are sent."""
        with self.connection.schema_editor(collect_sql=True, atomic=False) as editor:
            operation.database_forwards(APP, editor, self.state, self.state)
        return [statement.removesuffix(";") for statement in editor.collected_sql]

    def fill(self, rows: int = 5_000) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {self.connection.ops.quote_name(self.name)} "
                "(owner, status, weight, labels, created) "
                "SELECT 'Owner' || n %% 700, CASE WHEN n %% 100 = 0 THEN 'lost' ELSE 'sent' || n %% 50 END, "
                "nullif(n %% 300, 0), jsonb_build_object('n', n), now() - n * interval '1 minute' "
                "FROM generate_series(1, %s) n",
                [rows],
            )
            cursor.execute(f"ANALYZE {self.connection.ops.quote_name(self.name)}")


@contextmanager
def table_of(connection: BaseDatabaseWrapper, db_table: str = TABLE) -> Iterator[Table]:
    """Create the table, and drop it whatever the test did."""
    table = Table(connection, db_table)
    with connection.schema_editor(atomic=False) as editor:
        editor.create_model(table.model)
    try:
        yield table
    finally:
        with connection.schema_editor(atomic=False) as editor:
            editor.delete_model(table.model)


def wait_until(claim: Callable[[], bool], *, seconds: float = 20) -> None:
    """Return as soon as the claim holds; it is the server's state, of which nobody sends an event."""
    pause = threading.Event()
    for _ in range(int(seconds / 0.02)):
        if claim():
            return
        pause.wait(0.02)
    raise AssertionError(f"It did not happen in {seconds} s.")
