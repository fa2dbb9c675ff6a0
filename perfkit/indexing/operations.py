"""The migration operations for indexes: add, remove, rename and replace one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.apps.registry import Apps
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations import AddIndex, RemoveIndex, RenameIndex
from django.db.migrations.operations.base import Operation
from django.db.migrations.operations.models import IndexOperation
from django.db.migrations.state import ProjectState
from django.db.models import Index, Model

from perfkit.errors import AtomicMigrationError
from perfkit.indexing import concurrent, sqlite
from perfkit.indexing.steps import Patience
from perfkit.indexing.wanted import of_index

POSTGRESQL = "postgresql"


class SafeOperation(Operation):
    """What all of them share: the waiting for locks, and the way each database does it."""

    patience: Patience

    def waiting(self) -> dict[str, Any]:
        """Return the arguments about waiting that differ from their defaults."""
        usual = Patience()
        names = ("lock_timeout_seconds", "statement_timeout_seconds", "attempts")
        return {
            name: value for name in names if (value := getattr(self.patience, name)) != getattr(usual, name)
        }

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """Return what the migration writer needs, as Django's operation does, with the waiting."""
        name, args, kwargs = super().deconstruct()
        return name, list(args), {**kwargs, **self.waiting()}

    def is_for(self, schema_editor: BaseDatabaseSchemaEditor, model: type[Model], name: str) -> bool:
        """Tell whether the routers let the model live in this database.

        Raises:
            AtomicMigrationError: PostgreSQL is in a transaction, where it cannot work concurrently.
        """
        connection = schema_editor.connection
        if not self.allow_migrate_model(connection.alias, model):
            return False
        if connection.vendor == POSTGRESQL and connection.in_atomic_block:
            raise AtomicMigrationError(type(self).__name__, name)
        return True


def collect(schema_editor: BaseDatabaseSchemaEditor, statements: Iterable[str]) -> None:
    """Have `sqlmigrate` print the statements."""
    for statement in statements:
        schema_editor.execute(statement, params=None)


def model_of(apps: Apps, app_label: str, name: str) -> type[Model]:
    """Return the model as a migration has it."""
    return apps.get_model(app_label, name)


class SafeIndexOperation(SafeOperation):
    """How an index is had, and had no more, in each database."""

    def add(self, schema_editor: BaseDatabaseSchemaEditor, model: type[Model], index: Index) -> None:
        """Have the index on the model's table, where the routers let the model live in this database."""
        if not self.is_for(schema_editor, model, index.name):
            return
        vendor = schema_editor.connection.vendor
        if vendor == POSTGRESQL and schema_editor.collect_sql:
            collect(schema_editor, [of_index(model, index).sql(schema_editor, concurrently=True)])
        elif vendor == POSTGRESQL:
            concurrent.build_index(schema_editor, of_index(model, index), self.patience)
        elif vendor == "sqlite":
            sqlite.build_index(schema_editor, model, index)
        else:
            schema_editor.add_index(model, index)

    def remove(self, schema_editor: BaseDatabaseSchemaEditor, model: type[Model], index: Index) -> None:
        """Have the index no more, where the routers let the model live in this database."""
        if not self.is_for(schema_editor, model, index.name):
            return
        vendor, table = schema_editor.connection.vendor, model._meta.db_table
        if vendor == POSTGRESQL and schema_editor.collect_sql:
            collect(schema_editor, [concurrent.drop_sql(schema_editor, table, index.name)])
        elif vendor == POSTGRESQL:
            concurrent.drop_index(schema_editor, table, index.name, self.patience)
        elif vendor == "sqlite":
            sqlite.drop_index(schema_editor, index.name)
        else:
            schema_editor.remove_index(model, index)

    def rename(
        self, schema_editor: BaseDatabaseSchemaEditor, model: type[Model], old: Index, new: Index
    ) -> None:
        """Have the index under its new name, where the routers let the model live in this database."""
        if not self.is_for(schema_editor, model, new.name):
            return
        vendor, table = schema_editor.connection.vendor, model._meta.db_table
        if vendor == POSTGRESQL and schema_editor.collect_sql:
            collect(schema_editor, [concurrent.rename_sql(schema_editor, table, old.name, new.name)])
        elif vendor == POSTGRESQL:
            concurrent.rename_index(schema_editor, old.name, of_index(model, new), self.patience)
        elif vendor == "sqlite":
            sqlite.build_index(schema_editor, model, new)
            sqlite.drop_index(schema_editor, old.name)
        else:
            schema_editor.rename_index(model, old, new)

    def replace(
        self, schema_editor: BaseDatabaseSchemaEditor, model: type[Model], old: Index, new: Index
    ) -> None:
        """Have the new index, and then the old one no more; on PostgreSQL there is always one of them."""
        if not self.is_for(schema_editor, model, new.name):
            return
        if schema_editor.connection.vendor == POSTGRESQL and not schema_editor.collect_sql:
            concurrent.replace_index(schema_editor, old.name, of_index(model, new), self.patience)
        elif old.name != new.name:
            self.add(schema_editor, model, new)
            self.remove(schema_editor, model, old)
        elif schema_editor.connection.vendor == POSTGRESQL:
            collect(
                schema_editor,
                concurrent.replace_sql(schema_editor, of_index(model, new), model._meta.db_table),
            )
        elif schema_editor.connection.vendor != "sqlite" or sqlite.is_other(schema_editor, model, new):
            self.remove(schema_editor, model, old)
            self.add(schema_editor, model, new)


class AddIndexSafely(SafeIndexOperation, AddIndex):
    """Django's AddIndex, built without blocking writes, safe to kill at any moment and to run again.

    On PostgreSQL the index is built CONCURRENTLY, so its Migration needs `atomic = False`.
    An index of this name that an earlier run left invalid is dropped and built anew;
    a valid one with the same definition is left alone;
    one with another definition is an error, and nothing is changed.
    On a partitioned table it is built concurrently on each partition, and then attached.
    The session's `lock_timeout` and `statement_timeout` are set meanwhile and restored.
    On other databases it is the plain CREATE INDEX.
    To migrations it is the same as AddIndex: write the index into `Meta.indexes` too.

    Args:
        model_name: As for AddIndex.
        index: Any named `Index`: composite, partial, covering, of expressions, descending, GIN.
        lock_timeout_seconds: Longest wait for one lock, or for one older transaction to end (30).
        statement_timeout_seconds: Longest time for one statement, such as the build (without end).
        attempts: How often it is tried when a lock was not to be had in time (5).

    Raises:
        AtomicMigrationError: The migration runs in a transaction; says what to write.
        IndexConflictError: Another index has this name.
        IndexLockedError: The lock was not to be had in all attempts; run it again.
        PartitionedTableError: Some partitions are foreign tables, which can have no index.

    Example:
        >>> class Migration(migrations.Migration):  # doctest: +SKIP
        ...     atomic = False
        ...     operations = [
        ...         AddIndexSafely("flight", models.Index(fields=["airline"], name="flight_airline")),
        ...     ]
    """

    def __init__(
        self,
        model_name: str,
        index: Index,
        *,
        lock_timeout_seconds: float = 30.0,
        statement_timeout_seconds: float | None = None,
        attempts: int = 5,
    ) -> None:
        super().__init__(model_name, index)
        self.patience = Patience(lock_timeout_seconds, statement_timeout_seconds, attempts)

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Build the index."""
        self.add(schema_editor, model_of(to_state.apps, app_label, self.model_name), self.index)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Drop the index."""
        self.remove(schema_editor, model_of(from_state.apps, app_label, self.model_name), self.index)

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
    PostgreSQL drops the index of a partitioned table in one moment that waits for all who use the table.
    """

    def __init__(
        self,
        model_name: str,
        name: str,
        *,
        lock_timeout_seconds: float = 30.0,
        statement_timeout_seconds: float | None = None,
        attempts: int = 5,
    ) -> None:
        super().__init__(model_name, name)
        self.patience = Patience(lock_timeout_seconds, statement_timeout_seconds, attempts)

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Drop the index."""
        index = from_state.models[app_label, self.model_name_lower].get_index_by_name(self.name)
        self.remove(schema_editor, model_of(from_state.apps, app_label, self.model_name), index)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Build the index."""
        index = to_state.models[app_label, self.model_name_lower].get_index_by_name(self.name)
        self.add(schema_editor, model_of(to_state.apps, app_label, self.model_name), index)

    def describe(self) -> str:
        """Return what `migrate --plan` prints."""
        return f"{super().describe()}, without blocking reads or writes"


class RenameIndexSafely(SafeIndexOperation, RenameIndex):
    """Django's RenameIndex for named indexes, which waits for locks as long as it is told, and can be run again.

    PostgreSQL renames without blocking reads or writes.
    An index that is there under its new name already is left alone, and built anew where it is invalid.
    The arguments about waiting, and the errors, are those of `AddIndexSafely`.
    """

    def __init__(
        self,
        model_name: str,
        new_name: str,
        old_name: str,
        *,
        lock_timeout_seconds: float = 30.0,
        statement_timeout_seconds: float | None = None,
        attempts: int = 5,
    ) -> None:
        super().__init__(model_name, new_name, old_name=old_name)
        self.patience = Patience(lock_timeout_seconds, statement_timeout_seconds, attempts)

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Give the index its new name."""
        old = from_state.models[app_label, self.model_name_lower].get_index_by_name(self.old_name)
        new = to_state.models[app_label, self.model_name_lower].get_index_by_name(self.new_name)
        self.rename(schema_editor, model_of(to_state.apps, app_label, self.model_name), old, new)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Give the index its old name."""
        new = from_state.models[app_label, self.model_name_lower].get_index_by_name(self.new_name)
        old = to_state.models[app_label, self.model_name_lower].get_index_by_name(self.old_name)
        self.rename(schema_editor, model_of(to_state.apps, app_label, self.model_name), new, old)

    def reduce(self, operation: Operation, app_label: str) -> bool | list[Operation]:
        """Squash as RenameIndex does, keeping the waiting."""
        reduced: Any = super().reduce(operation, app_label)
        if isinstance(reduced, list):
            return [
                type(self)(self.model_name, each.new_name, each.old_name, **self.waiting())
                for each in reduced
            ]
        return bool(reduced)


class ReplaceIndexSafely(SafeIndexOperation, IndexOperation):
    """Puts one index in the place of another: the new one is built, then the old one dropped.

    Queries have one of the two all the time, and it may be killed and run again, as `AddIndexSafely`.
    Both may have the same name: then the new one is built under another name, and renamed at the end.
    To migrations it is RemoveIndex and AddIndex, which `makemigrations` writes for it.
    Reversing it builds the old index and drops the new one.

    Args:
        model_name: As for AddIndex.
        old_name: Of the index to drop.
        index: The one to build.
        lock_timeout_seconds: See `AddIndexSafely`.
        statement_timeout_seconds: See `AddIndexSafely`.
        attempts: See `AddIndexSafely`.

    Example:
        >>> ReplaceIndexSafely(  # doctest: +SKIP
        ...     "flight",
        ...     "flight_airline",
        ...     models.Index(fields=["airline", "-time_hour"], name="flight_airline_time"),
        ... )
    """

    def __init__(
        self,
        model_name: str,
        old_name: str,
        index: Index,
        *,
        lock_timeout_seconds: float = 30.0,
        statement_timeout_seconds: float | None = None,
        attempts: int = 5,
    ) -> None:
        if not index.name:
            raise ValueError("Indexes passed to ReplaceIndexSafely require a name.")
        self.model_name = model_name
        self.old_name = old_name
        self.index = index
        self.patience = Patience(lock_timeout_seconds, statement_timeout_seconds, attempts)

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """Return what the migration writer needs."""
        kwargs = {"model_name": self.model_name, "old_name": self.old_name, "index": self.index}
        return type(self).__name__, [], {**kwargs, **self.waiting()}

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Take the old index out of the state, and the new one in."""
        state.remove_index(app_label, self.model_name_lower, self.old_name)
        state.add_index(app_label, self.model_name_lower, self.index)

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Build the new index, then drop the old one."""
        old = from_state.models[app_label, self.model_name_lower].get_index_by_name(self.old_name)
        self.replace(schema_editor, model_of(to_state.apps, app_label, self.model_name), old, self.index)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Build the old index, then drop the new one."""
        old = to_state.models[app_label, self.model_name_lower].get_index_by_name(self.old_name)
        self.replace(schema_editor, model_of(to_state.apps, app_label, self.model_name), self.index, old)

    def describe(self) -> str:
        """Return what `migrate --plan` prints."""
        return f"Replace index {self.old_name} of {self.model_name} by {self.index.name}, without blocking writes"

    @property
    def migration_name_fragment(self) -> str:
        """What a migration of this operation alone is called by."""
        return f"replace_{self.old_name.lower()}_{self.index.name.lower()}"
