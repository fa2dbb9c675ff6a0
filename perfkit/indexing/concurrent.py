"""Builds, drops, renames and replaces indexes on PostgreSQL without blocking writes, whenever it is killed."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.utils import split_identifier

from perfkit.errors import IndexConflictError
from perfkit.indexing import partitions
from perfkit.indexing.building import OneIndex, ensure_built, ensure_dropped, path
from perfkit.indexing.definitions import wanted_shape
from perfkit.indexing.steps import Patience
from perfkit.indexing.waiting import Attempt, patiently
from perfkit.indexing.wanted import WantedIndex
from perfkit.postgres.catalogue import find_index, find_table


def build_index(editor: BaseDatabaseSchemaEditor, wanted: WantedIndex, patience: Patience) -> None:
    """Have a valid index on the model's table, whatever an earlier run left behind.

    Raises:
        IndexConflictError: Another index has the name; nothing was changed.
        ConstraintViolatedError: It is to be unique, and rows are not; nothing is left.
        IndexLockedError: A lock was not to be had in all attempts; running it again is safe.
    """
    if is_partitioned(editor, wanted.table):
        partitions.build(editor, wanted, patience)
        return
    one = OneIndex(
        wanted.table,
        wanted.name,
        lambda: wanted_shape(editor, wanted),
        wanted.sql(editor, concurrently=True),
    )
    patiently(editor, wanted.name, patience, lambda attempt: ensure_built(attempt, one))


def drop_index(editor: BaseDatabaseSchemaEditor, table: str, name: str, patience: Patience) -> None:
    """Have no index `name` on the table; one that is gone already is no error.

    Raises:
        IndexConflictError, IndexLockedError: As `build_index`.
    """
    if is_partitioned(editor, table):
        partitions.drop(editor, table, name, patience)
        return
    patiently(editor, name, patience, lambda attempt: ensure_dropped(attempt, table, name))


def rename_index(
    editor: BaseDatabaseSchemaEditor, old_name: str, wanted: WantedIndex, patience: Patience
) -> None:
    """Have the index `old_name` under the name that is wanted, and valid.

    Raises:
        IndexConflictError: Both names are taken, or what has one of them is another index.
        ConstraintViolatedError, IndexLockedError: As `build_index`.
    """

    def rename(attempt: Attempt) -> None:
        old = find_index(attempt.connection, wanted.table, old_name)
        if old is None:
            return  # an earlier run has renamed it; what is not there at all is built
        there = find_index(attempt.connection, wanted.table, wanted.name)
        if there is not None or not old.is_on_table:
            taken = there or old
            raise IndexConflictError(taken.name, f"{taken.definition};", f"{old_name} under that name.")
        attempt.at_once(f"ALTER INDEX {path(editor, old)} RENAME TO {editor.quote_name(wanted.name)}")

    patiently(editor, wanted.name, patience, rename)
    build_index(editor, wanted, patience)


def replace_index(
    editor: BaseDatabaseSchemaEditor, old_name: str, wanted: WantedIndex, patience: Patience
) -> None:
    """Have the index that is wanted, and then no longer `old_name`: queries have one of them all the time.

    Where both have one name, the new one is built under another name first, and renamed in the end.

    Raises:
        IndexConflictError, ConstraintViolatedError, IndexLockedError: As `build_index`.
    """
    if old_name != wanted.name:
        build_index(editor, wanted, patience)
        drop_index(editor, wanted.table, old_name, patience)
        return
    new_name = partitions.derived_name(wanted.name, "new")
    there = find_index(editor.connection, wanted.table, wanted.name)
    meanwhile = find_index(editor.connection, wanted.table, new_name)
    shape = wanted_shape(editor, wanted)
    if there is not None and there.is_valid and there.shape == shape:
        drop_index(editor, wanted.table, new_name, patience)  # of a run that came to its end otherwise
        return
    if there is not None and not there.is_on_table:
        raise IndexConflictError(wanted.name, f"{there.definition};", f"{wanted.sql(editor)};")
    if there is None and meanwhile is None:
        build_index(editor, wanted, patience)
        return
    build_index(editor, wanted.renamed(new_name), patience)
    drop_index(editor, wanted.table, wanted.name, patience)
    rename_index(editor, new_name, wanted, patience)


def drop_sql(editor: BaseDatabaseSchemaEditor, table: str, name: str) -> str:
    """Return the statement that drops an index, made from the names alone, without a query."""
    schema, _ = split_identifier(table)
    names = ".".join(editor.quote_name(part) for part in (schema, name) if part)
    return f"DROP INDEX CONCURRENTLY IF EXISTS {names}"


def rename_sql(editor: BaseDatabaseSchemaEditor, table: str, old_name: str, new_name: str) -> str:
    """Return the statement that renames an index, made from the names alone, without a query."""
    schema, _ = split_identifier(table)
    names = ".".join(editor.quote_name(part) for part in (schema, old_name) if part)
    return f"ALTER INDEX {names} RENAME TO {editor.quote_name(new_name)}"


def replace_sql(editor: BaseDatabaseSchemaEditor, wanted: WantedIndex, table: str) -> Iterator[str]:
    """Yield the statements that put an index in the place of another one of its name."""
    new_name = partitions.derived_name(wanted.name, "new")
    yield wanted.renamed(new_name).sql(editor, concurrently=True)
    yield drop_sql(editor, table, wanted.name)
    yield rename_sql(editor, table, new_name, wanted.name)


def is_partitioned(editor: BaseDatabaseSchemaEditor, table: str) -> bool:
    """Tell whether a table is partitioned."""
    state = find_table(editor.connection, table)
    return state is not None and state.is_partitioned
