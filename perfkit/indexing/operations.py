"""The migration operations `AddIndexSafely` and `RemoveIndexSafely`."""

from __future__ import annotations

from typing import Any

from django.apps.registry import Apps
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations import AddIndex, RemoveIndex, RenameIndex
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models import Index, Model

from perfkit.errors import AtomicMigrationError
from perfkit.indexing import concurrent, sqlite
from perfkit.indexing.steps import Patience


class SafeIndexOperation(Operation):
    """What adding and removing share: the waiting for locks, and the way each database does it."""

    patience: Patience

    def waiting(self) -> dict[str, Any]:
        """Return the arguments about waiting that differ from their defaults."""
        usual = Patience()
        names = ("lock_timeout_seconds", "attempts")
        return {
            name: value for name in names if (value := getattr(self.patience, name)) != getattr(usual, name)
        }

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """Return what the migration writer needs, as Django's operation does, with the waiting."""
        name, args, kwargs = super().deconstruct()
        return name, list(args), {**kwargs, **self.waiting()}

    def add(self, schema_editor: BaseDatabaseSchemaEditor, model: type[Model], index: Index) -> None:
        """Have the index on the model's table, where the routers let the model live in this database."""
        connection = schema_editor.connection
        if not self.allow_migrate_model(connection.alias, model):
            return
        if connection.vendor == "postgresql":
            self.refuse_transaction(schema_editor, index.name)
            if schema_editor.collect_sql:
                schema_editor.execute(index.create_sql(model, schema_editor, concurrently=True), params=None)
            else:
                concurrent.build_index(schema_editor, model, index, self.patience)
        elif connection.vendor == "sqlite":
            sqlite.build_index(schema_editor, model, index)
        else:
            schema_editor.add_index(model, index)

    def remove(self, schema_editor: BaseDatabaseSchemaEditor, model: type[Model], index: Index) -> None:
        """Have the index no more, where the routers let the model live in this database."""
        connection = schema_editor.connection
        if not self.allow_migrate_model(connection.alias, model):
            return
        if connection.vendor == "postgresql":
            self.refuse_transaction(schema_editor, index.name)
            if schema_editor.collect_sql:
                statement = concurrent.drop_statement(schema_editor, model._meta.db_table, index.name)
                schema_editor.execute(statement, params=None)
            else:
                concurrent.drop_index(schema_editor, model, index.name, self.patience)
        elif connection.vendor == "sqlite":
            sqlite.drop_index(schema_editor, index.name)
        else:
            schema_editor.remove_index(model, index)

    def refuse_transaction(self, schema_editor: BaseDatabaseSchemaEditor, name: str) -> None:
        """Raise AtomicMigrationError inside a transaction, where PostgreSQL cannot work concurrently."""
        if schema_editor.connection.in_atomic_block:
            raise AtomicMigrationError(type(self).__name__, name)


class AddIndexSafely(SafeIndexOperation, AddIndex):
    """Django's AddIndex, built without blocking writes, safe to kill at any moment and to run again.

    On PostgreSQL the index is built CONCURRENTLY, so its Migration needs `atomic = False`.
    An index of this name that an earlier run left invalid is dropped and built anew;
    a valid one with the same definition is left alone;
    one with another definition is an error, and nothing is changed.
    The session's `lock_timeout` and `statement_timeout` are set meanwhile and restored.
    On other databases it is the plain CREATE INDEX.
    To migrations it is the same as AddIndex: write the index into `Meta.indexes` too.

    Args:
        model_name: As for AddIndex.
        index: Any named `Index`: composite, partial, covering, of expressions, descending, GIN.
        lock_timeout_seconds: Longest wait for one lock, or for one older transaction to end (30).
        attempts: How often it is tried when a lock was not to be had in time (5).

    Raises:
        AtomicMigrationError: The migration runs in a transaction; says what to write.
        IndexConflictError: Another index has this name.
        PartitionedTableError: The table is partitioned.
        IndexLockedError: The lock was not to be had in all attempts; run it again.

    Example:
        >>> class Migration(migrations.Migration):  # doctest: +SKIP
        ...     atomic = False
        ...     operations = [
        ...         AddIndexSafely("flight", models.Index(fields=["airline"], name="flight_airline")),
        ...     ]
    """

    def __init__(
        self, model_name: str, index: Index, *, lock_timeout_seconds: float = 30.0, attempts: int = 5
    ) -> None:
        super().__init__(model_name, index)
        self.patience = Patience(lock_timeout_seconds=lock_timeout_seconds, attempts=attempts)

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Build the index."""
        self.add(schema_editor, _model(to_state.apps, app_label, self.model_name), self.index)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Drop the index."""
        self.remove(schema_editor, _model(from_state.apps, app_label, self.model_name), self.index)

    def describe(self) -> str:
        """Return what `migrate --plan` prints."""
        return f"{super().describe()}, without blocking writes"

    def reduce(self, operation: Operation, app_label: str) -> bool | list[Operation]:
        """Squash as AddIndex does, keeping the waiting."""
        if isinstance(operation, RenameIndex) and self.index.name == operation.old_name:
            renamed = self.index.clone()
            renamed.name = operation.new_name
            return [type(self)(self.model_name, renamed, **self.waiting())]
        return super().reduce(operation, app_label)


class RemoveIndexSafely(SafeIndexOperation, RemoveIndex):
    """Django's RemoveIndex, dropped without blocking reads or writes, safe to kill and to run again.

    The counterpart of `AddIndexSafely`, with the same rules, arguments and errors.
    Reversing it builds the index.
    """

    def __init__(
        self, model_name: str, name: str, *, lock_timeout_seconds: float = 30.0, attempts: int = 5
    ) -> None:
        super().__init__(model_name, name)
        self.patience = Patience(lock_timeout_seconds=lock_timeout_seconds, attempts=attempts)

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Drop the index."""
        index = from_state.models[app_label, self.model_name_lower].get_index_by_name(self.name)
        self.remove(schema_editor, _model(from_state.apps, app_label, self.model_name), index)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Build the index."""
        index = to_state.models[app_label, self.model_name_lower].get_index_by_name(self.name)
        self.add(schema_editor, _model(to_state.apps, app_label, self.model_name), index)

    def describe(self) -> str:
        """Return what `migrate --plan` prints."""
        return f"{super().describe()}, without blocking reads or writes"


def _model(apps: Apps, app_label: str, name: str) -> type[Model]:
    return apps.get_model(app_label, name)
