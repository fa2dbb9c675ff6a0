"""Finds the migrations that are to be applied and would block writes to a large table while they read it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from django.apps import apps
from django.db import connections, router
from django.db.migrations import (
    AddConstraint,
    AddField,
    AddIndex,
    AlterField,
    AlterUniqueTogether,
    Migration,
    SeparateDatabaseAndState,
)
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models import CheckConstraint, ForeignKey, UniqueConstraint

from perfkit.indexing.operations import SafeOperation
from perfkit.postgres.catalogue import TableState, find_table

PACKAGES = ("site-packages", "dist-packages")
CONCURRENT = frozenset({"AddIndexConcurrently", "AddConstraintNotValid"})
"""Django's own operations that do not block, in a module that needs psycopg."""


class Blocking(NamedTuple):
    """An operation that would block writes.

    Attributes:
        migration: `app.name`.
        instead: What to write in its place.
    """

    migration: str
    operation: str
    table: TableState
    instead: str


def blocking_operations(using: str, *, from_bytes: int) -> Iterator[Blocking]:
    """Yield what migrations of the project's own apps, not yet applied to a PostgreSQL database, would block by.

    Packages' are left out, for nobody would change them. What RunSQL and RunPython do is not seen.

    Args:
        from_bytes: How large a table is that matters.

    Queries: 2 for the migrations that are applied, and 1 for each operation in question.
    """
    connection = connections[using]
    executor = MigrationExecutor(connection)
    for migration, _ in executor.migration_plan(executor.loader.graph.leaf_nodes()):
        if not _is_own(migration) or not any(_instead(each) for each in _operations(migration.operations)):
            continue
        state = executor.loader.project_state((migration.app_label, migration.name), at_end=False)
        for operation in migration.operations:
            for each in _operations([operation]):
                instead = _instead(each)
                name = getattr(each, "model_name", getattr(each, "name", ""))
                table = _table(using, state, migration.app_label, name) if instead else None
                if table is not None and table.size_bytes >= from_bytes and _is_new(each, state, migration):
                    label = f"{migration.app_label}.{migration.name}"
                    yield Blocking(label, each.describe(), table, instead)
            operation.state_forwards(migration.app_label, state)


def _is_own(migration: Migration) -> bool:
    try:
        path = apps.get_app_config(migration.app_label).path
    except LookupError:
        return False
    return not any(package in path for package in PACKAGES)


def _operations(operations: Sequence[Operation]) -> Iterator[Operation]:
    """Yield those that touch the database."""
    for operation in operations:
        if isinstance(operation, SeparateDatabaseAndState):
            yield from _operations(operation.database_operations)
        else:
            yield operation


def _instead(operation: Operation) -> str:
    """Return what to write in the place of an operation that blocks; empty for one that does not."""
    if isinstance(operation, SafeOperation) or type(operation).__name__ in CONCURRENT:
        return ""
    if isinstance(operation, AddIndex):
        return "AddIndexSafely"
    if isinstance(operation, AddConstraint):
        is_ours = isinstance(operation.constraint, UniqueConstraint | CheckConstraint)
        return "AddConstraintSafely" if is_ours else "a maintenance window"
    if isinstance(operation, AlterUniqueTogether) and operation.option_value:
        return "UniqueConstraint in Meta.constraints, and AddConstraintSafely"
    if isinstance(operation, AddField | AlterField):
        return _instead_of_field(operation)
    return ""


def _instead_of_field(operation: AddField | AlterField) -> str:
    field: Any = operation.field
    if isinstance(field, ForeignKey):
        return "AddForeignKeySafely" if isinstance(operation, AddField) else "AlterForeignKeySafely"
    if _is_indexed(field):
        return "the field without db_index and unique, and AddIndexSafely or AddConstraintSafely"
    return ""


def _is_new(operation: Operation, state: ProjectState, migration: Migration) -> bool:
    """Tell whether a field that is altered gets something to build; others always do."""
    if not isinstance(operation, AlterField):
        return True
    model = state.models[migration.app_label, operation.model_name_lower]
    old: Any = model.fields[operation.name]
    new: Any = operation.field
    has_index = _is_indexed(new) and not _is_indexed(old)
    has_key, had_key = (getattr(field, "db_constraint", False) for field in (new, old))
    return bool(has_index or (has_key and not had_key))


def _is_indexed(field: Any) -> bool:
    return bool(getattr(field, "db_index", False) or getattr(field, "unique", False))


def _table(using: str, state: ProjectState, app_label: str, name: str) -> TableState | None:
    """Return the table of a model as it is before the migration; None where it is not in this database."""
    model = state.models.get((app_label, name.lower()))
    if model is None or not router.allow_migrate(using, app_label, model_name=name.lower()):
        return None
    return find_table(connections[using], model.options.get("db_table") or f"{app_label}_{name.lower()}")
