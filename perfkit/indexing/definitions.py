"""Says what an index or a check would look like in PostgreSQL's catalogue, without making it on the live table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import CheckConstraint, Model

from perfkit.indexing.wanted import WantedIndex
from perfkit.postgres.catalogue import IndexShape, find_index
from perfkit.postgres.constraints import find_constraint

SCRATCH_TABLE = "perfkit_scratch"


def wanted_shape(schema_editor: BaseDatabaseSchemaEditor, wanted: WantedIndex) -> IndexShape:
    """Return the shape that an index has once it is built on the model's table.

    It is built on an empty temporary copy of the table, in a transaction that is rolled back.
    So PostgreSQL itself fills in its defaults and brings expressions into its own form,
    and comparing with an index that is there is exact.

    Queries: 6, among them BEGIN and ROLLBACK; the table itself is only locked as by a read.
    """
    with _scratch_table(schema_editor, wanted.table):
        schema_editor.execute(wanted.sql(schema_editor, table=SCRATCH_TABLE), params=None)
        scratch = find_index(schema_editor.connection, SCRATCH_TABLE, wanted.name)
    assert scratch is not None  # noqa: S101  # the statement before it has just made it
    return scratch.shape


def stated_shape(
    schema_editor: BaseDatabaseSchemaEditor, table: str, name: str, statement: Callable[[str], str]
) -> IndexShape:
    """Return the shape that an index has which a statement of its own makes; see `wanted_shape`.

    Args:
        statement: Returns it for a table.

    Raises:
        DatabaseError: PostgreSQL does not take it; nothing is left of it.
    """
    with _scratch_table(schema_editor, table):
        schema_editor.execute(statement(SCRATCH_TABLE), params=None)
        scratch = find_index(schema_editor.connection, SCRATCH_TABLE, name)
    assert scratch is not None  # noqa: S101  # the statement before it has just made it
    return scratch.shape


def wanted_check(
    schema_editor: BaseDatabaseSchemaEditor, model: type[Model], constraint: CheckConstraint
) -> str:
    """Return how PostgreSQL writes a check of the model's table; see `wanted_shape`."""
    quote = schema_editor.quote_name
    check = constraint.constraint_sql(model, schema_editor)
    with _scratch_table(schema_editor, model._meta.db_table):
        schema_editor.execute(f"ALTER TABLE {quote(SCRATCH_TABLE)} ADD {check}", params=None)
        scratch = find_constraint(schema_editor.connection, SCRATCH_TABLE, constraint.name)
    assert scratch is not None  # noqa: S101  # the statement before it has just made it
    return scratch.definition


@contextmanager
def _scratch_table(schema_editor: BaseDatabaseSchemaEditor, table: str) -> Iterator[None]:
    """Have a temporary table with the columns of another one, within the block."""
    using = schema_editor.connection.alias
    with transaction.atomic(using=using):
        schema_editor.execute(
            f"CREATE TEMPORARY TABLE {SCRATCH_TABLE} (LIKE {schema_editor.quote_name(table)})", params=None
        )
        yield
        transaction.set_rollback(True, using=using)
