"""Builds and drops indexes on SQLite, which has no concurrent builds, so that a second run does no harm."""

from __future__ import annotations

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import Index, Model, UniqueConstraint
from django.db.models.constraints import BaseConstraint

from perfkit.errors import IndexConflictError
from perfkit.indexing.wanted import is_constraint


def build_index(schema_editor: BaseDatabaseSchemaEditor, model: type[Model], index: Index) -> None:
    """Have `index` on the model's table; the same one may be there already.

    Raises:
        IndexConflictError: Another index has the name; nothing was changed.
    """
    build_stated(schema_editor, index.name, str(index.create_sql(model, schema_editor)))


def build_stated(schema_editor: BaseDatabaseSchemaEditor, name: str, statement: str) -> None:
    """Have the index that a statement makes; the same one may be there already.

    Raises:
        IndexConflictError: Another index has the name; nothing was changed.
    """
    if not _is_there(schema_editor, name, statement):
        schema_editor.execute(statement, params=None)


def drop_index(schema_editor: BaseDatabaseSchemaEditor, name: str) -> None:
    """Have no index `name`; one that is gone already is no error."""
    schema_editor.execute(f"DROP INDEX IF EXISTS {schema_editor.quote_name(name)}", params=None)


def is_other(schema_editor: BaseDatabaseSchemaEditor, model: type[Model], index: Index) -> bool:
    """Tell whether what has the name of the index is another one, or nothing."""
    if schema_editor.collect_sql:
        return True
    return definition(schema_editor, index.name) != str(index.create_sql(model, schema_editor))


def is_index(constraint: BaseConstraint) -> bool:
    """Tell whether Django makes nothing but an index of a constraint."""
    return isinstance(constraint, UniqueConstraint) and not is_constraint(constraint)


def has_unique(
    schema_editor: BaseDatabaseSchemaEditor, model: type[Model], constraint: BaseConstraint
) -> bool:
    """Tell whether a constraint that is an index is there already; others are made anew with the whole table.

    Raises:
        IndexConflictError: Another index has the name; nothing was changed.
    """
    if not is_index(constraint):
        return False
    return _is_there(schema_editor, constraint.name, str(constraint.create_sql(model, schema_editor)))


def has_column(schema_editor: BaseDatabaseSchemaEditor, table: str, column: str | None) -> bool:
    """Tell whether a column is there, in a database that is not only to print statements."""
    connection = schema_editor.connection
    if schema_editor.collect_sql:
        return False
    with connection.cursor() as cursor:
        columns = connection.introspection.get_table_description(cursor, table)
    return column in {each.name for each in columns}


def definition(schema_editor: BaseDatabaseSchemaEditor, name: str) -> str | None:
    """Return the text of the statement that made the index, or None where there is none."""
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT sql FROM sqlite_master WHERE type = 'index' AND name = %s", [name])
        row: tuple[str] | None = cursor.fetchone()
    return row[0] if row else None


def _is_there(schema_editor: BaseDatabaseSchemaEditor, name: str, statement: str) -> bool:
    existing = None if schema_editor.collect_sql else definition(schema_editor, name)
    if existing is not None and existing != statement:
        raise IndexConflictError(name, f"{existing};", f"{statement};")
    return existing is not None
