"""What a foreign key has in a database, each under the name that Django gives it: column, index, constraint."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.ddl_references import Statement
from django.db.models import ForeignKey, Model, UniqueConstraint

from perfkit.errors import FieldChangeError
from perfkit.indexing.concurrent import build_index, drop_index
from perfkit.indexing.concurrent import drop_sql as drop_index_sql
from perfkit.indexing.constraints import (
    Condition,
    add_foreign_key,
    add_unique,
    drop_constraint,
    drop_sql,
    unique_sql,
    validate_sql,
)
from perfkit.indexing.steps import Patience
from perfkit.indexing.waiting import Attempt, patiently
from perfkit.indexing.wanted import WantedIndex, unquoted
from perfkit.postgres.catalogue import find_table, has_column
from perfkit.postgres.constraints import ConstraintState

AnyField: TypeAlias = Any
"""A field with a column; Django's stubs know little of what it has."""


@dataclass(frozen=True)
class Parts:
    """The indexes and constraints that a field has in PostgreSQL.

    Attributes:
        unique: Of a field that is unique; its index serves as the field's own.
        indexes: Those alone, among them the one that Django makes of texts for LIKE.
    """

    model: type[Model]
    unique: UniqueConstraint | None = None
    indexes: dict[str, WantedIndex] = field(default_factory=dict)
    foreign_key: Condition | None = None

    @property
    def table(self) -> str:
        """The `db_table`."""
        return self.model._meta.db_table


def parts_of(editor: BaseDatabaseSchemaEditor, model: type[Model], column: AnyField) -> Parts:
    """Return what a field has; nothing is asked of the database but whether a collation is deterministic."""
    private: Any = editor
    unique = None
    if column.unique and not column.primary_key:
        name = private._create_index_name(model._meta.db_table, [column.column], suffix="_uniq")  # noqa: SLF001  # Django has no public one
        unique = UniqueConstraint(fields=[column.name], name=name)
    statements = [] if column.primary_key else private._field_indexes_sql(model, column)  # noqa: SLF001  # see above
    indexes = {}
    for statement in statements:
        name = unquoted(statement.parts["name"])
        indexes[name] = WantedIndex(model, name, partial(_again, statement))
    return Parts(model, unique, indexes, _foreign_key(editor, model, column))


def _again(statement: Statement, _: BaseDatabaseSchemaEditor) -> Statement:
    parts: dict[str, Any] = statement.parts
    return Statement(statement.template, **parts)


def _foreign_key(editor: BaseDatabaseSchemaEditor, model: type[Model], column: AnyField) -> Condition | None:
    if editor.connection.vendor != "postgresql" or not isinstance(column, ForeignKey):
        return None
    return _condition(editor, model, column) if _has_constraint(column) else None


def _has_constraint(column: AnyField) -> bool:
    return bool(column.db_constraint)


def _condition(editor: BaseDatabaseSchemaEditor, model: type[Model], column: AnyField) -> Condition:
    private: Any = editor
    quote, connection = editor.quote_name, editor.connection
    target = column.target_field
    target_table = target.model._meta.db_table
    statement = private._create_fk_sql(model, column, "_fk_%(to_table)s_%(to_column)s")  # noqa: SLF001  # see above

    def is_same(there: ConstraintState) -> bool:
        state = find_table(connection, target_table)
        ends = (there.columns, there.target_columns)
        is_there = state is not None and there.target_oid == state.oid
        return there.kind == "f" and is_there and ends == ((column.column,), (target.column,))

    return Condition(
        model._meta.db_table,
        unquoted(statement.parts["name"]),
        str(statement),
        is_same,
        f"checked.{quote(column.column)} IS NOT NULL AND NOT EXISTS (SELECT FROM {quote(target_table)} AS target "
        f"WHERE target.{quote(target.column)} = checked.{quote(column.column)})",
    )


def bare(column: AnyField) -> AnyField:
    """Return the field as a column alone, of which Django makes no index and no constraint."""
    alone = copy.copy(column)
    alone.db_index = False
    alone._unique = False  # noqa: SLF001  # what `unique` reads
    alone.db_constraint = False
    return alone


def add_column(
    editor: BaseDatabaseSchemaEditor, model: type[Model], column: AnyField, patience: Patience
) -> None:
    """Have the column of a new field, without index and constraint; one that is there stays."""

    def add(attempt: Attempt) -> None:
        if not has_column(attempt.connection, model._meta.db_table, column.column):
            with attempt.transaction():
                editor.add_field(model, bare(column))

    patiently(editor, f"{model._meta.db_table}.{column.column}", patience, add)


def drop_column(
    editor: BaseDatabaseSchemaEditor, model: type[Model], column: AnyField, patience: Patience
) -> None:
    """Have the column no more, nor what hangs on it; it takes a moment."""

    def drop(attempt: Attempt) -> None:
        if has_column(attempt.connection, model._meta.db_table, column.column):
            with attempt.transaction():
                editor.remove_field(model, column)

    patiently(editor, f"{model._meta.db_table}.{column.column}", patience, drop)


def refuse_other_changes(editor: BaseDatabaseSchemaEditor, old: AnyField, new: AnyField) -> None:
    """Raise FieldChangeError where more than indexes and constraints would change."""

    def column(of: AnyField) -> tuple[Any, ...]:
        kind = of.db_parameters(connection=editor.connection)["type"]
        return of.column, kind, of.null, of.db_comment, of.deconstruct()[3].get("db_default")

    if column(old) != column(new):
        raise FieldChangeError(f"{new.model._meta.label}.{new.name}")


def bring(editor: BaseDatabaseSchemaEditor, old: Parts, new: Parts, patience: Patience) -> None:
    """Have the indexes and constraints of a field as it becomes, and none that only the former one had."""
    if old.foreign_key and _statement(old) != _statement(new):
        drop_constraint(editor, old.table, old.foreign_key.name, patience)
    for name, index in new.indexes.items():
        if name not in old.indexes:
            build_index(editor, index, patience)
    if new.unique and not old.unique:
        add_unique(editor, new.model, new.unique, patience)
    if new.foreign_key:
        add_foreign_key(editor, new.foreign_key, patience)
    for name in sorted(old.indexes.keys() - new.indexes.keys()):
        drop_index(editor, old.table, name, patience)
    if old.unique and not new.unique:
        drop_constraint(editor, old.table, old.unique.name, patience)


def bring_sql(editor: BaseDatabaseSchemaEditor, old: Parts, new: Parts) -> Iterator[str]:
    """Yield the statements of `bring`, for a database where nothing has been done yet."""
    table = new.table
    if old.foreign_key and _statement(old) != _statement(new):
        yield drop_sql(editor, table, old.foreign_key.name)
    for name, index in new.indexes.items():
        if name not in old.indexes:
            yield index.sql(editor, concurrently=True)
    if new.unique and not old.unique:
        yield from unique_sql(editor, new.model, new.unique)
    if new.foreign_key and _statement(old) != _statement(new):
        yield f"{new.foreign_key.statement} NOT VALID"
        yield validate_sql(editor, table, new.foreign_key.name)
    for name in sorted(old.indexes.keys() - new.indexes.keys()):
        yield drop_index_sql(editor, table, name)
    if old.unique and not new.unique:
        yield drop_sql(editor, table, old.unique.name)


def _statement(parts: Parts) -> str | None:
    return parts.foreign_key.statement if parts.foreign_key else None
