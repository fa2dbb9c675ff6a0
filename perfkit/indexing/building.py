"""Has one index of one table on PostgreSQL, or has it no more, whatever was interrupted before.

# Note [Killed while building]
CREATE INDEX CONCURRENTLY commits the index's name first and fills it afterwards.
What is killed between, or times out waiting for a lock, leaves an index marked INVALID:
writes keep it up to date, reads never use it, a second CREATE fails,
and CREATE … IF NOT EXISTS takes it for finished.
So each attempt looks at the catalogue first, and drops what is INVALID.

The server does not notice at once that the process which asked for an index is gone: it may go on building.
Dropping would wait for it and then drop a good index, so an index that is being built is waited for.

Source:
    PostgreSQL manual, CREATE INDEX, "Building Indexes Concurrently".
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from django.db import DatabaseError, IntegrityError, OperationalError
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from perfkit.errors import ConstraintViolatedError, IndexConflictError
from perfkit.indexing.steps import Step, next_step
from perfkit.indexing.violations import duplicates
from perfkit.indexing.waiting import Attempt
from perfkit.postgres.catalogue import IndexShape, IndexState, find_index
from perfkit.postgres.session import is_alive

logger = logging.getLogger("perfkit.indexing")


@dataclass(frozen=True, slots=True)
class OneIndex:
    """An index of one table that holds rows itself.

    Attributes:
        table: As a model's `db_table`.
        shape: Returns what it looks like once it is built.
        statement: Builds it concurrently.
    """

    table: str
    name: str
    shape: Callable[[], IndexShape]
    statement: str


def ensure_built(attempt: Attempt, one: OneIndex) -> int | None:
    """Make one attempt, see Note [Killed while building]; return the pid of a process that builds it."""
    there = find_index(attempt.connection, one.table, one.name)
    step = next_step(there, one.shape() if there and there.is_valid else None)
    if there is not None:
        if step is Step.KEEP:
            logger.warning("Index %s is there already, valid and as wanted: left as it is.", one.name)
            return None
        if step is Step.REFUSE:
            raise IndexConflictError(one.name, f"{there.definition};", f"{one.statement};")
        if step is Step.WAIT:
            return there.builder_pid
        logger.warning(
            "Index %s is invalid, left by a build that did not finish: dropped and built anew.", one.name
        )
        _drop(attempt, there)
    try:
        attempt.concurrently(one.statement)
    except IntegrityError as error:
        left = find_index(attempt.connection, one.table, one.name)
        _drop_leftover(attempt, one)
        if left is None:
            raise
        problem, statement = duplicates(attempt.connection, one.table, left.shape)
        raise ConstraintViolatedError(one.name, one.table, problem, statement) from error
    except DatabaseError:
        _drop_leftover(attempt, one)
        raise
    return None


def ensure_dropped(attempt: Attempt, table: str, name: str) -> int | None:
    """Make one attempt to have no index of that name; return the pid of a process that builds it."""
    there = find_index(attempt.connection, table, name)
    if there is None:
        return None
    if not there.is_on_table:
        raise IndexConflictError(name, f"{there.definition};", f"to drop it from {table}.")
    if there.builder_pid:
        return there.builder_pid
    _drop(attempt, there)
    return None


def path(editor: BaseDatabaseSchemaEditor, there: IndexState) -> str:
    """Return the quoted name of an index, with its schema."""
    return f"{editor.quote_name(there.schema)}.{editor.quote_name(there.name)}"


def _drop_leftover(attempt: Attempt, one: OneIndex) -> None:
    """Drop what a failed build left; where that meets a lock too, the next attempt or run does it."""
    if not is_alive(attempt.connection):
        return
    there = find_index(attempt.connection, one.table, one.name)
    if there is None or there.is_valid or there.builder_pid or not there.is_on_table:
        return
    try:
        _drop(attempt, there)
    except OperationalError as error:
        if not attempt.is_lock_failure(error):
            raise
        logger.warning("Index %s is left invalid, for others use its table; the next run drops it.", one.name)


def _drop(attempt: Attempt, there: IndexState) -> None:
    attempt.concurrently(f"DROP INDEX CONCURRENTLY IF EXISTS {path(attempt.editor, there)}")
