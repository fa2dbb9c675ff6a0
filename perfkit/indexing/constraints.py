"""Adds constraints on PostgreSQL without blocking writes for longer than a moment, whenever it is killed.

A unique one is built as an index, concurrently, which then becomes the constraint.
Checks and foreign keys are added NOT VALID, which reads no row and holds from then on for what is written,
and validated in a second step, which reads all of them and blocks nobody.
Between any two steps it may be killed: each looks at the catalogue first.

Source:
    PostgreSQL manual, ALTER TABLE, "Notes" on NOT VALID.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.db import IntegrityError, OperationalError
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import CheckConstraint, Deferrable, Model, UniqueConstraint
from django.db.models.constraints import BaseConstraint

from perfkit.errors import ConstraintViolatedError, IndexConflictError
from perfkit.indexing.concurrent import build_index, drop_index, is_partitioned
from perfkit.indexing.concurrent import drop_sql as drop_index_sql
from perfkit.indexing.definitions import wanted_check, wanted_shape
from perfkit.indexing.partitions import leaves, promote, promote_sql
from perfkit.indexing.steps import Patience
from perfkit.indexing.violations import unfitting
from perfkit.indexing.waiting import Attempt, patiently
from perfkit.indexing.wanted import is_constraint, of_unique
from perfkit.postgres.catalogue import find_index
from perfkit.postgres.constraints import ConstraintState, find_constraint
from perfkit.postgres.session import is_alive

logger = logging.getLogger("perfkit.indexing")

DEFERRABLE = {
    None: "",
    Deferrable.DEFERRED: " DEFERRABLE INITIALLY DEFERRED",
    Deferrable.IMMEDIATE: " DEFERRABLE",
}


@dataclass(frozen=True, slots=True)
class Condition:
    """A check or a foreign key to have on a table.

    Attributes:
        statement: Adds it, with rows that do not meet it being an error.
        is_same: Tells whether one that is there is the one that is wanted.
        violated: What is true of a row that does not meet it, as SQL; its table is called `checked`.
    """

    table: str
    name: str
    statement: str
    is_same: Callable[[ConstraintState], bool]
    violated: str


def add_unique(
    editor: BaseDatabaseSchemaEditor, model: type[Model], constraint: UniqueConstraint, patience: Patience
) -> None:
    """Have the unique constraint, or the unique index that Django makes of one with a condition or expressions.

    Raises:
        ConstraintViolatedError: Rows are not unique; nothing is left of it.
        IndexConflictError, IndexLockedError: As `concurrent.build_index`.
    """
    wanted = of_unique(model, constraint)
    table = wanted.table
    there = find_constraint(editor.connection, table, constraint.name)
    if there is not None:
        index = find_index(editor.connection, table, constraint.name)
        is_same = (
            wanted.constraint is not None
            and index is not None
            and index.shape == wanted_shape(editor, wanted)
            and there.is_deferrable == (constraint.deferrable is not None)
            and there.is_deferred == (constraint.deferrable is Deferrable.DEFERRED)
        )
        if not is_same:
            raise IndexConflictError(constraint.name, there.definition, f"{wanted.sql(editor)};")
        if index is not None and index.is_valid:
            logger.warning("Constraint %s is there already, as wanted: left as it is.", constraint.name)
            return
    build_index(editor, wanted, patience)
    if wanted.constraint is not None and not is_partitioned(editor, table):
        deferrable = DEFERRABLE[constraint.deferrable]
        patiently(
            editor,
            constraint.name,
            patience,
            lambda attempt: promote(attempt, table, constraint.name, deferrable),
        )


def check_condition(
    editor: BaseDatabaseSchemaEditor, model: type[Model], constraint: CheckConstraint
) -> Condition:
    """Return the condition that a check of the model's table is."""
    definition = wanted_check(editor, model, constraint)
    return Condition(
        model._meta.db_table,
        constraint.name,
        str(constraint.create_sql(model, editor)),
        lambda there: there.kind == "c" and there.definition == definition,
        f"NOT ({definition.removeprefix('CHECK ')})",
    )


def add_condition(editor: BaseDatabaseSchemaEditor, condition: Condition, patience: Patience) -> None:
    """Have a check or a foreign key, valid.

    Raises:
        ConstraintViolatedError: Rows do not meet it; it is not left behind.
        IndexConflictError: Another constraint has the name; nothing was changed.
        IndexLockedError: A lock was not to be had in all attempts; running it again is safe.
    """
    patiently(editor, condition.name, patience, lambda attempt: _ensure_added(attempt, condition))
    patiently(editor, condition.name, patience, lambda attempt: _ensure_valid(attempt, condition))


def add_foreign_key(editor: BaseDatabaseSchemaEditor, condition: Condition, patience: Patience) -> None:
    """Have a foreign key, valid, of a partitioned table too: there first on each partition.

    What its partitions have already, PostgreSQL takes for the table's own without reading a row.

    Raises:
        ConstraintViolatedError, IndexConflictError, IndexLockedError: As `add_condition`.
    """
    if not is_partitioned(editor, condition.table):
        add_condition(editor, condition, patience)
        return
    if _is_there(editor, condition):
        return
    quote = editor.quote_name
    head = f"ALTER TABLE {quote(condition.table)} "
    for leaf in leaves(editor, condition.table):
        statement = condition.statement.replace(head, f"ALTER TABLE {quote(leaf)} ", 1)
        part = Condition(leaf, condition.name, statement, condition.is_same, condition.violated)
        add_condition(editor, part, patience)
    patiently(editor, condition.name, patience, lambda attempt: attempt.at_once(condition.statement))


def drop_constraint(editor: BaseDatabaseSchemaEditor, table: str, name: str, patience: Patience) -> None:
    """Have no constraint of that name, nor the index of one that has not become a constraint.

    Raises:
        IndexConflictError: An index of another table has the name; nothing was changed.
        IndexLockedError: A lock was not to be had in all attempts; running it again is safe.
    """

    def drop(attempt: Attempt) -> None:
        if find_constraint(attempt.connection, table, name) is not None:
            attempt.at_once(drop_sql(editor, table, name))

    patiently(editor, name, patience, drop)
    index = find_index(editor.connection, table, name)
    if index is not None and index.is_on_table:
        drop_index(editor, table, name, patience)


def drop_sql(editor: BaseDatabaseSchemaEditor, table: str, name: str) -> str:
    """Return the statement that drops a constraint."""
    return f"ALTER TABLE {editor.quote_name(table)} DROP CONSTRAINT IF EXISTS {editor.quote_name(name)}"


def unique_sql(
    editor: BaseDatabaseSchemaEditor, model: type[Model], constraint: UniqueConstraint
) -> Iterator[str]:
    """Yield the statements of `add_unique`, for a database where nothing has been done yet."""
    wanted = of_unique(model, constraint)
    yield wanted.sql(editor, concurrently=True)
    if wanted.constraint is not None:
        yield promote_sql(editor, wanted.table, constraint.name, DEFERRABLE[constraint.deferrable])


def removal_sql(editor: BaseDatabaseSchemaEditor, table: str, constraint: BaseConstraint) -> Iterator[str]:
    """Yield the statement of `drop_constraint`, made from the names alone."""
    is_index = isinstance(constraint, UniqueConstraint) and not is_constraint(constraint)
    yield (drop_index_sql if is_index else drop_sql)(editor, table, constraint.name)


def validate_sql(editor: BaseDatabaseSchemaEditor, table: str, name: str) -> str:
    """Return the statement that validates a constraint."""
    return f"ALTER TABLE {editor.quote_name(table)} VALIDATE CONSTRAINT {editor.quote_name(name)}"


def _is_there(editor: BaseDatabaseSchemaEditor, condition: Condition) -> bool:
    there = find_constraint(editor.connection, condition.table, condition.name)
    if there is None:
        return False
    if not condition.is_same(there):
        raise IndexConflictError(condition.name, there.definition, f"{condition.statement};")
    return True


def _ensure_added(attempt: Attempt, condition: Condition) -> None:
    if not _is_there(attempt.editor, condition):
        attempt.at_once(f"{condition.statement} NOT VALID")


def _ensure_valid(attempt: Attempt, condition: Condition) -> None:
    there = find_constraint(attempt.connection, condition.table, condition.name)
    if there is not None and there.is_valid:
        return
    with _without_leftover(attempt, condition):
        attempt.at_once(validate_sql(attempt.editor, condition.table, condition.name))


@contextmanager
def _without_leftover(attempt: Attempt, condition: Condition) -> Iterator[None]:
    """Drop the condition again where rows do not meet it, and say how many."""
    try:
        yield
    except IntegrityError as error:
        if is_alive(attempt.connection):
            try:
                attempt.at_once(drop_sql(attempt.editor, condition.table, condition.name))
            except OperationalError as locked:
                if not attempt.is_lock_failure(locked):
                    raise
                logger.warning("Constraint %s is left NOT VALID: others use its table.", condition.name)
        problem, statement = unfitting(attempt.connection, condition.table, condition.violated)
        raise ConstraintViolatedError(condition.name, condition.table, problem, statement) from error
