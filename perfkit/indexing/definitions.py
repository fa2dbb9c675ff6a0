"""Says what an index would look like in PostgreSQL's catalogue, without building it on the live table."""

from __future__ import annotations

from django.db import transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.ddl_references import Table
from django.db.models import Index, Model

from perfkit.postgres.catalogue import IndexShape, find_index

SCRATCH_TABLE = "perfkit_scratch"


def wanted_shape(schema_editor: BaseDatabaseSchemaEditor, model: type[Model], index: Index) -> IndexShape:
    """Return the shape that `index` has once it is built on the model's table.

    It is built on an empty temporary copy of the table, in a transaction that is rolled back.
    So PostgreSQL itself fills in its defaults and brings expressions into its own form,
    and comparing with an index that is there is exact.

    Queries: 6, among them BEGIN and ROLLBACK; the table itself is only locked as by a read.
    """
    connection = schema_editor.connection
    quote = schema_editor.quote_name
    statement = index.create_sql(model, schema_editor)
    statement.parts["table"] = Table(SCRATCH_TABLE, quote)
    with transaction.atomic(using=connection.alias):
        schema_editor.execute(
            f"CREATE TEMPORARY TABLE {SCRATCH_TABLE} (LIKE {quote(model._meta.db_table)})", params=None
        )
        schema_editor.execute(statement, params=None)
        scratch = find_index(connection, SCRATCH_TABLE, index.name)
        transaction.set_rollback(True, using=connection.alias)
    assert scratch is not None  # noqa: S101  # the statement before it has just made it
    return scratch.shape
