"""Builds and drops indexes of partitioned tables: on each partition concurrently, and then all of them together.

# Note [Indexes of partitioned tables]
PostgreSQL builds no index of a partitioned table concurrently.
What it lets one do: make it on the parent ONLY, which takes a moment and leaves it invalid;
build one like it on each partition, concurrently; and attach these one after the other.
With the last one the parent's becomes valid, by PostgreSQL itself.
Partitions that are made meanwhile get theirs from the parent's, so what lacks one is looked up again.

Source:
    PostgreSQL manual, "Partitioning", "Partition Maintenance".
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from perfkit.errors import IndexConflictError, PartitionedTableError
from perfkit.indexing.building import OneIndex, ensure_built, ensure_dropped, path
from perfkit.indexing.definitions import wanted_shape
from perfkit.indexing.steps import Patience
from perfkit.indexing.waiting import Attempt, patiently
from perfkit.indexing.wanted import WantedIndex
from perfkit.postgres.catalogue import IndexShape, IndexState, find_index
from perfkit.postgres.constraints import find_constraint

logger = logging.getLogger("perfkit.indexing")

LONGEST_NAME_BYTES = 63

LACKING_SQL = """
SELECT n.nspname, c.relname, c.relkind = 'p',
       (SELECT i.relname
        FROM pg_inherits a JOIN pg_index x ON x.indexrelid = a.inhrelid JOIN pg_class i ON i.oid = x.indexrelid
        WHERE a.inhparent = %s AND x.indrelid = c.oid)
FROM pg_inherits h
JOIN pg_class c ON c.oid = h.inhrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE h.inhparent = to_regclass(%s) AND c.relkind IN ('r', 'p')
  AND NOT EXISTS (
      SELECT FROM pg_inherits a JOIN pg_index x ON x.indexrelid = a.inhrelid
      WHERE a.inhparent = %s AND x.indrelid = c.oid AND x.indisvalid
  )
ORDER BY n.nspname, c.relname
"""

PARENT_SQL = """
SELECT x.indisunique, quote_ident(i.relname), format('%%I.%%I', n.nspname, t.relname), pg_get_indexdef(i.oid),
       (SELECT CASE WHEN k.condeferred THEN ' DEFERRABLE INITIALLY DEFERRED'
                    WHEN k.condeferrable THEN ' DEFERRABLE' ELSE '' END
        FROM pg_constraint k WHERE k.conindid = i.oid AND k.contype = 'u')
FROM pg_index x
JOIN pg_class i ON i.oid = x.indexrelid
JOIN pg_class t ON t.oid = x.indrelid
JOIN pg_namespace n ON n.oid = t.relnamespace
WHERE x.indexrelid = %s
"""

CHILDREN_SQL = """
SELECT n.nspname, c.relname, c.relkind = 'p'
FROM pg_inherits h
JOIN pg_class c ON c.oid = h.inhrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE h.inhparent = to_regclass(%s) AND c.relkind IN ('r', 'p')
ORDER BY n.nspname, c.relname
"""


@dataclass(frozen=True, slots=True)
class Parent:
    """An index of a partitioned table, as far as its partitions' must be like it.

    Attributes:
        tail: What follows the table's name in its definition.
        deferrable: Of the constraint that stands on it; None where none does.
    """

    oid: int
    schema: str
    name: str
    table: str
    is_unique: bool
    tail: str
    deferrable: str | None
    shape: IndexShape


def build(editor: BaseDatabaseSchemaEditor, wanted: WantedIndex, patience: Patience) -> None:
    """Have a valid index on a partitioned table and all of its partitions, see the note above.

    Raises:
        IndexConflictError, ConstraintViolatedError, IndexLockedError: As `concurrent.build_index`.
        PartitionedTableError: Some partitions are foreign tables, which can have no index.
    """
    shape = wanted_shape(editor, wanted)
    there = find_index(editor.connection, wanted.table, wanted.name)
    if there is not None and there.is_on_table and not there.is_valid and not _is_same(there, wanted, shape):
        drop(editor, wanted.table, wanted.name, patience)
    patiently(editor, wanted.name, patience, lambda attempt: _ensure_parent(attempt, wanted, shape))
    complete(editor, wanted.table, wanted.name, patience)


def complete(editor: BaseDatabaseSchemaEditor, table: str, name: str, patience: Patience) -> None:
    """Have an index of a partitioned table that is there on all of its partitions too.

    Raises:
        IndexConflictError, ConstraintViolatedError, IndexLockedError: As `concurrent.build_index`.
        PartitionedTableError: Some partitions are foreign tables, which can have no index.
    """
    parent = parent_of(editor.connection, table, name)
    while lacking := list(_lacking(editor, parent)):
        for child_table, is_parent, attached in lacking:
            child = attached or _child_name(parent, child_table)
            part: dict[str, Any] = {"parent": parent, "table": child_table, "name": child}
            if is_parent:
                if not attached:
                    patiently(editor, child, patience, partial(_ensure_middle, **part))
                complete(editor, child_table, child, patience)
            else:
                _have(editor, parent, child_table, child, patience)
            if not attached:
                patiently(editor, child, patience, partial(_attach, **part))
    there = find_index(editor.connection, table, name)
    if there is not None and not there.is_valid:
        raise PartitionedTableError(table, name)


def drop(editor: BaseDatabaseSchemaEditor, table: str, name: str, patience: Patience) -> None:
    """Have no index `name` on a partitioned table nor on its partitions; it takes a moment, not concurrently.

    Raises:
        IndexConflictError, IndexLockedError: As `concurrent.drop_index`.
    """
    there = find_index(editor.connection, table, name)
    if there is not None and there.is_on_table and there.is_partitioned:
        parent = parent_of(editor.connection, table, name)
        for child_table, _ in _children(editor, table):
            child = _child_name(parent, child_table)
            part = find_index(editor.connection, child_table, child)
            if part is not None and not part.is_attached:
                drop(editor, child_table, child, patience)  # what a build that was killed has not attached

    def drop_one(attempt: Attempt) -> int | None:
        there = find_index(attempt.connection, table, name)
        if there is None or not there.is_on_table or not (there.is_partitioned or there.has_constraint):
            return ensure_dropped(attempt, table, name)
        quote = editor.quote_name
        attempt.at_once(
            f"ALTER TABLE {quote(table)} DROP CONSTRAINT IF EXISTS {quote(name)}"
            if there.has_constraint
            else f"DROP INDEX IF EXISTS {path(editor, there)}"
        )
        return None

    patiently(editor, name, patience, drop_one)


def derived_name(name: str, what: str) -> str:
    """Return the name of an index that belongs to another one; the same for each run."""
    digest = hashlib.sha256(what.encode()).hexdigest()[:8]
    stem = name.encode()[: LONGEST_NAME_BYTES - len(digest) - 1].decode(errors="ignore")
    return f"{stem}_{digest}"


def parent_of(connection: BaseDatabaseWrapper, table: str, name: str) -> Parent:
    """Return an index of a partitioned table that is there."""
    there = find_index(connection, table, name)
    assert there is not None  # noqa: S101  # who calls has made it or found it
    with connection.cursor() as cursor:
        cursor.execute(PARENT_SQL, [there.oid])
        is_unique, index, qualified, definition, deferrable = cursor.fetchone()
    head = f"CREATE {'UNIQUE ' if is_unique else ''}INDEX {index} ON ONLY {qualified} "
    tail = definition.removeprefix(head)
    return Parent(there.oid, there.schema, name, table, is_unique, tail, deferrable, there.shape)


def _ensure_parent(attempt: Attempt, wanted: WantedIndex, shape: IndexShape) -> None:
    editor = attempt.editor
    there = find_index(attempt.connection, wanted.table, wanted.name)
    statement = wanted.sql(editor, only=True)
    if wanted.constraint is not None:
        # Not by an index that is there: PostgreSQL makes no constraint of a partitioned one.
        statement = str(wanted.constraint.create_sql(wanted.model, editor)).replace(
            "ALTER TABLE ", "ALTER TABLE ONLY ", 1
        )
    if there is not None:
        if _is_same(there, wanted, shape):
            return
        raise IndexConflictError(wanted.name, f"{there.definition};", f"{statement};")
    attempt.at_once(statement)


def _is_same(there: IndexState, wanted: WantedIndex, shape: IndexShape) -> bool:
    return there.is_on_table and there.shape == shape and there.has_constraint == bool(wanted.constraint)


def _child_name(parent: Parent, table: str) -> str:
    """Return the name of a partition's index, the same for each run as long as the parent's is there.

    It names the parent's by its number: that one may be renamed, and another one take its name.
    """
    return derived_name(parent.name, f"{parent.oid} {table}")


def _ensure_middle(attempt: Attempt, parent: Parent, table: str, name: str) -> None:
    """Have the index of a partition that is partitioned itself, without those of its own partitions."""
    editor = attempt.editor
    there = find_index(attempt.connection, table, name)
    if there is not None:
        if there.is_on_table and there.shape == parent.shape:
            return
        raise IndexConflictError(name, f"{there.definition};", f"one as {parent.name} for {table}.")
    quote = editor.quote_name
    if parent.deferrable is not None:
        keys = ", ".join(parent.shape.columns[: parent.shape.key_columns])
        nulls = " NULLS NOT DISTINCT" if parent.shape.nulls_are_equal else ""
        attempt.at_once(
            f"ALTER TABLE ONLY {quote(table)} ADD CONSTRAINT {quote(name)} "
            f"UNIQUE{nulls} ({keys}){parent.deferrable}"
        )
    else:
        kind = "UNIQUE INDEX" if parent.is_unique else "INDEX"
        attempt.at_once(f"CREATE {kind} {quote(name)} ON ONLY {quote(table)} {parent.tail}")


def _have(
    editor: BaseDatabaseSchemaEditor, parent: Parent, table: str, name: str, patience: Patience
) -> None:
    """Have the index of one partition, and the constraint on it."""
    quote = editor.quote_name
    kind = "UNIQUE INDEX" if parent.is_unique else "INDEX"
    one = OneIndex(
        table,
        name,
        lambda: parent.shape,
        f"CREATE {kind} CONCURRENTLY {quote(name)} ON {quote(table)} {parent.tail}",
    )
    patiently(editor, name, patience, lambda attempt: ensure_built(attempt, one))
    if parent.deferrable is not None:
        patiently(editor, name, patience, lambda attempt: promote(attempt, table, name, parent.deferrable))


def promote(attempt: Attempt, table: str, name: str, deferrable: str | None) -> None:
    """Have the unique constraint that stands on the index of its name."""
    if find_constraint(attempt.connection, table, name) is None:
        attempt.at_once(promote_sql(attempt.editor, table, name, deferrable or ""))


def promote_sql(editor: BaseDatabaseSchemaEditor, table: str, name: str, deferrable: str) -> str:
    """Return the statement that makes a unique index a constraint."""
    quote = editor.quote_name
    return f"ALTER TABLE {quote(table)} ADD CONSTRAINT {quote(name)} UNIQUE USING INDEX {quote(name)}{deferrable}"


def _attach(attempt: Attempt, parent: Parent, table: str, name: str) -> None:
    quote = attempt.editor.quote_name
    there = find_index(attempt.connection, table, name)
    assert there is not None  # noqa: S101  # it has just been built
    attempt.at_once(
        f"ALTER INDEX {quote(parent.schema)}.{quote(parent.name)} "
        f"ATTACH PARTITION {path(attempt.editor, there)}"
    )


def _lacking(editor: BaseDatabaseSchemaEditor, parent: Parent) -> Iterator[tuple[str, bool, str | None]]:
    """Yield the partitions without a valid index of the parent's; with the name of one that is not valid."""
    quote = editor.quote_name
    for schema, table, is_parent, attached in _rows(
        editor.connection, LACKING_SQL, [parent.oid, quote(parent.table), parent.oid]
    ):
        yield f"{quote(schema)}.{quote(table)}", is_parent, attached


def leaves(editor: BaseDatabaseSchemaEditor, table: str) -> Iterator[str]:
    """Yield the partitions of a table, however deep, that hold rows themselves."""
    for child, is_parent in _children(editor, table):
        if is_parent:
            yield from leaves(editor, child)
        else:
            yield child


def _children(editor: BaseDatabaseSchemaEditor, table: str) -> Iterator[tuple[str, bool]]:
    """Yield the partitions of a table, each with whether it is partitioned itself."""
    quote = editor.quote_name
    for schema, name, is_parent in _rows(editor.connection, CHILDREN_SQL, [quote(table)]):
        yield f"{quote(schema)}.{quote(name)}", is_parent


def _rows(connection: BaseDatabaseWrapper, sql: str, params: list[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows
