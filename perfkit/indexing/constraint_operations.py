"""The migration operations for constraints: unique ones, checks and foreign keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db import transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations import AddConstraint, AddField, AlterField, RemoveConstraint
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models import CheckConstraint, ForeignKey, Model, UniqueConstraint
from django.db.models.constraints import BaseConstraint

from perfkit.indexing import constraints, foreign_keys, sqlite
from perfkit.indexing.operations import POSTGRESQL, SafeOperation, collect, model_of
from perfkit.indexing.steps import Patience


class SafeConstraintOperation(SafeOperation):
    """How a constraint is had, and had no more, in each database."""

    def add(
        self, schema_editor: BaseDatabaseSchemaEditor, model: type[Model], constraint: BaseConstraint
    ) -> None:
        """Have the constraint on the model's table, where the routers let the model live in this database."""
        if not self.is_for(schema_editor, model, constraint.name):
            return
        connection = schema_editor.connection
        if connection.vendor != POSTGRESQL:
            if connection.vendor != "sqlite" or not sqlite.has_unique(schema_editor, model, constraint):
                with transaction.atomic(using=connection.alias):
                    schema_editor.add_constraint(model, constraint)
        elif schema_editor.collect_sql:
            collect(schema_editor, self._statements(schema_editor, model, constraint))
        elif isinstance(constraint, UniqueConstraint):
            constraints.add_unique(schema_editor, model, constraint, self.patience)
        elif isinstance(constraint, CheckConstraint):
            check = constraints.check_condition(schema_editor, model, constraint)
            constraints.add_condition(schema_editor, check, self.patience)

    def remove(
        self, schema_editor: BaseDatabaseSchemaEditor, model: type[Model], constraint: BaseConstraint
    ) -> None:
        """Have the constraint no more, where the routers let the model live in this database."""
        if not self.is_for(schema_editor, model, constraint.name):
            return
        connection = schema_editor.connection
        table = model._meta.db_table
        if connection.vendor != POSTGRESQL:
            if connection.vendor == "sqlite" and sqlite.is_index(constraint):
                sqlite.drop_index(schema_editor, constraint.name)
                return
            with transaction.atomic(using=connection.alias):
                schema_editor.remove_constraint(model, constraint)
        elif schema_editor.collect_sql:
            collect(schema_editor, constraints.removal_sql(schema_editor, table, constraint))
        else:
            constraints.drop_constraint(schema_editor, table, constraint.name, self.patience)

    def _statements(
        self, schema_editor: BaseDatabaseSchemaEditor, model: type[Model], constraint: BaseConstraint
    ) -> Iterator[str]:
        if isinstance(constraint, UniqueConstraint):
            yield from constraints.unique_sql(schema_editor, model, constraint)
        else:
            yield f"{constraint.create_sql(model, schema_editor)} NOT VALID"
            yield constraints.validate_sql(schema_editor, model._meta.db_table, constraint.name)


class AddConstraintSafely(SafeConstraintOperation, AddConstraint):
    """Django's AddConstraint for unique constraints and checks, without blocking writes for more than a moment.

    On PostgreSQL a unique constraint is built as a unique index, CONCURRENTLY, which then becomes the constraint;
    with a condition, expressions, `include` or `opclasses` the index is all, as Django has it.
    A check is added NOT VALID and then validated.
    It may be killed at any moment and run again, and its Migration needs `atomic = False`.
    On other databases it is what Django does.
    To migrations it is the same as AddConstraint: write it into `Meta.constraints` too.

    Args:
        model_name: As for AddConstraint.
        constraint: A `UniqueConstraint` or a `CheckConstraint`.
        lock_timeout_seconds: See `AddIndexSafely`.
        statement_timeout_seconds: See `AddIndexSafely`.
        attempts: See `AddIndexSafely`.

    Raises:
        TypeError: Another kind of constraint, which PostgreSQL can only add while it blocks all others.
        ConstraintViolatedError: Rows do not meet it: says how many, and leaves nothing of it behind.
        AtomicMigrationError, IndexConflictError, IndexLockedError: As `AddIndexSafely`.
    """

    def __init__(
        self,
        model_name: str,
        constraint: BaseConstraint,
        *,
        lock_timeout_seconds: float = 30.0,
        statement_timeout_seconds: float | None = None,
        attempts: int = 5,
    ) -> None:
        _refuse_others(constraint)
        super().__init__(model_name, constraint)
        self.patience = Patience(lock_timeout_seconds, statement_timeout_seconds, attempts)

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Add the constraint."""
        self.add(schema_editor, model_of(to_state.apps, app_label, self.model_name), self.constraint)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Drop the constraint."""
        self.remove(schema_editor, model_of(to_state.apps, app_label, self.model_name), self.constraint)

    def describe(self) -> str:
        """Return what `migrate --plan` prints."""
        return f"{super().describe()}, without blocking writes"

    def reduce(self, operation: Operation, app_label: str) -> bool | list[Operation]:
        """Squash as AddConstraint does, keeping the waiting."""
        reduced: Any = super().reduce(operation, app_label)
        if isinstance(reduced, list):
            return [type(self)(self.model_name, each.constraint, **self.waiting()) for each in reduced]
        return bool(reduced)


class RemoveConstraintSafely(SafeConstraintOperation, RemoveConstraint):
    """Django's RemoveConstraint, which waits for locks as long as it is told, and can be run again.

    The counterpart of `AddConstraintSafely`, with the same rules, arguments and errors.
    Reversing it adds the constraint.
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
        """Drop the constraint."""
        constraint = from_state.models[app_label, self.model_name_lower].get_constraint_by_name(self.name)
        _refuse_others(constraint)
        self.remove(schema_editor, model_of(to_state.apps, app_label, self.model_name), constraint)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Add the constraint."""
        constraint = to_state.models[app_label, self.model_name_lower].get_constraint_by_name(self.name)
        self.add(schema_editor, model_of(to_state.apps, app_label, self.model_name), constraint)


class AddForeignKeySafely(SafeOperation, AddField):
    """Django's AddField for a foreign key, without blocking writes to either table for more than a moment.

    On PostgreSQL the column is added alone; its index is built CONCURRENTLY; the constraint is added NOT VALID
    and then validated. All of them have the names that Django gives them.
    It may be killed at any moment and run again, and its Migration needs `atomic = False`.
    On other databases it is what Django does.
    To migrations it is the same as AddField.

    Args:
        model_name: As for AddField.
        name: As for AddField.
        field: A `ForeignKey` or `OneToOneField`, with `null=True` or a `db_default` where the table has rows.
        preserve_default: As for AddField.
        lock_timeout_seconds: See `AddIndexSafely`.
        statement_timeout_seconds: See `AddIndexSafely`.
        attempts: See `AddIndexSafely`.

    Raises:
        TypeError: A field that is no foreign key.
        AtomicMigrationError, IndexConflictError, IndexLockedError: As `AddIndexSafely`.
    """

    def __init__(
        self,
        model_name: str,
        name: str,
        field: ForeignKey[Model, Model],
        preserve_default: bool = True,  # as Django has it
        *,
        lock_timeout_seconds: float = 30.0,
        statement_timeout_seconds: float | None = None,
        attempts: int = 5,
    ) -> None:
        _refuse_other_fields(type(self).__name__, field)
        super().__init__(model_name, name, field, preserve_default)
        self.patience = Patience(lock_timeout_seconds, statement_timeout_seconds, attempts)

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Add the column, its index and its constraint."""
        model = model_of(to_state.apps, app_label, self.model_name)
        if not self.is_for(schema_editor, model, self.name):
            return
        if schema_editor.connection.vendor != POSTGRESQL:
            column = _field(model, self.name).column
            if not sqlite.has_column(schema_editor, model._meta.db_table, column):
                super().database_forwards(app_label, schema_editor, from_state, to_state)
            return
        from_model = model_of(from_state.apps, app_label, self.model_name)
        field = _field(model, self.name)
        column = foreign_keys.bare(field)
        if not self.preserve_default:
            column.default = self.field.default
        old, new = foreign_keys.Parts(from_model), foreign_keys.parts_of(schema_editor, model, field)
        if schema_editor.collect_sql:
            schema_editor.add_field(from_model, column)
            collect(schema_editor, foreign_keys.bring_sql(schema_editor, old, new))
        else:
            foreign_keys.add_column(schema_editor, from_model, column, self.patience)
            foreign_keys.bring(schema_editor, old, new, self.patience)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Drop the column, and with it its index and its constraint."""
        model = model_of(from_state.apps, app_label, self.model_name)
        if not self.is_for(schema_editor, model, self.name):
            return
        if schema_editor.connection.vendor == POSTGRESQL and not schema_editor.collect_sql:
            foreign_keys.drop_column(schema_editor, model, _field(model, self.name), self.patience)
        else:
            super().database_backwards(app_label, schema_editor, from_state, to_state)

    def describe(self) -> str:
        """Return what `migrate --plan` prints."""
        return f"{super().describe()}, without blocking writes"

    def reduce(self, operation: Operation, app_label: str) -> bool | list[Operation]:
        """Squash as AddField does, keeping the waiting where it stays a foreign key."""
        if (
            isinstance(operation, AlterField)
            and self.is_same_field_operation(operation)
            and not isinstance(operation.field, ForeignKey)
        ):
            return [AddField(self.model_name, operation.name, operation.field)]
        reduced: Any = super().reduce(operation, app_label)
        if isinstance(reduced, list):
            return [type(self)(each.model_name, each.name, each.field, **self.waiting()) for each in reduced]
        return bool(reduced)


class AlterForeignKeySafely(SafeOperation, AlterField):
    """Django's AlterField where a column becomes a foreign key, or gets its index or constraint.

    For a number that becomes a relation of the same column, or a relation that had `db_constraint=False` or
    `db_index=False`. The index is built CONCURRENTLY, the constraint added NOT VALID and then validated.
    It may be killed at any moment and run again, and its Migration needs `atomic = False`.
    On other databases it is what Django does.
    To migrations it is the same as AlterField. The arguments are those of `AddForeignKeySafely`.

    Raises:
        TypeError: A field that is no foreign key.
        FieldChangeError: The column itself would change; nothing was done.
        ConstraintViolatedError: Values of the column have no row: says how many, and drops the constraint.
        AtomicMigrationError, IndexConflictError, IndexLockedError: As `AddIndexSafely`.
    """

    def __init__(
        self,
        model_name: str,
        name: str,
        field: ForeignKey[Model, Model],
        preserve_default: bool = True,  # as Django has it
        *,
        lock_timeout_seconds: float = 30.0,
        statement_timeout_seconds: float | None = None,
        attempts: int = 5,
    ) -> None:
        _refuse_other_fields(type(self).__name__, field)
        super().__init__(model_name, name, field, preserve_default)
        self.patience = Patience(lock_timeout_seconds, statement_timeout_seconds, attempts)

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Have the indexes and the constraints of the field as it becomes."""
        new_model = model_of(to_state.apps, app_label, self.model_name)
        if not self.is_for(schema_editor, new_model, self.name):
            return
        if schema_editor.connection.vendor != POSTGRESQL:
            with transaction.atomic(using=schema_editor.connection.alias):
                super().database_forwards(app_label, schema_editor, from_state, to_state)
            return
        old_model = model_of(from_state.apps, app_label, self.model_name)
        old_field, new_field = (_field(model, self.name) for model in (old_model, new_model))
        foreign_keys.refuse_other_changes(schema_editor, old_field, new_field)
        old = foreign_keys.parts_of(schema_editor, old_model, old_field)
        new = foreign_keys.parts_of(schema_editor, new_model, new_field)
        if schema_editor.collect_sql:
            collect(schema_editor, foreign_keys.bring_sql(schema_editor, old, new))
        else:
            foreign_keys.bring(schema_editor, old, new, self.patience)

    def describe(self) -> str:
        """Return what `migrate --plan` prints."""
        return f"{super().describe()}, without blocking writes"


def _refuse_others(constraint: BaseConstraint) -> None:
    if not isinstance(constraint, UniqueConstraint | CheckConstraint):
        raise TypeError(
            f"{constraint.name} is a {type(constraint).__name__}: only unique constraints and checks can be "
            "added without blocking others. Use Django's AddConstraint."
        )


def _refuse_other_fields(operation: str, field: object) -> None:
    if not isinstance(field, ForeignKey):
        raise TypeError(f"{operation} takes a ForeignKey or OneToOneField, not a {type(field).__name__}.")


def _field(model: type[Model], name: str) -> Any:
    return model._meta.get_field(name)
