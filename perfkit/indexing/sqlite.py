"""Builds and drops indexes on SQLite, which has no concurrent builds, so that a second run does no harm."""

from __future__ import annotations

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import Index, Model

from perfkit.errors import IndexConflictError


def build_index(schema_editor: BaseDatabaseSchemaEditor, model: type[Model], index: Index) -> None:
    """Have `index` on the model's table; the same one may be there already.

    Raises:
        IndexConflictError: Another index has the name; nothing was changed.
    """
    statement = str(index.create_sql(model, schema_editor))
    existing = None if schema_editor.collect_sql else definition(schema_editor, index.name)
    if existing is None:
        schema_editor.execute(statement, params=None)
    elif existing != statement:
        raise IndexConflictError(index.name, f"{existing};", f"{statement};")


def drop_index(schema_editor: BaseDatabaseSchemaEditor, name: str) -> None:
    """Have no index `name`; one that is gone already is no error."""
    schema_editor.execute(f"DROP INDEX IF EXISTS {schema_editor.quote_name(name)}", params=None)


def definition(schema_editor: BaseDatabaseSchemaEditor, name: str) -> str | None:
    """Return the text of the statement that made the index, or None where there is none."""
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT sql FROM sqlite_master WHERE type = 'index' AND name = %s", [name])
        row: tuple[str] | None = cursor.fetchone()
    return row[0] if row else None
