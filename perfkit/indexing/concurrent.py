"""Builds and drops indexes on PostgreSQL without blocking writes, and survives being killed at any moment.

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
import time
from collections.abc import Callable

from django.db import DatabaseError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.utils import split_identifier
from django.db.models import Index, Model

from perfkit.errors import IndexConflictError, IndexLockedError, PartitionedTableError
from perfkit.indexing.definitions import wanted_shape
from perfkit.indexing.steps import Patience, Step, next_step
from perfkit.postgres.catalogue import IndexState, find_index, find_table
from perfkit.postgres.session import is_alive, session_settings, sqlstate

logger = logging.getLogger("perfkit.indexing")

LOCK_NOT_AVAILABLE = "55P03"
DEADLOCK_DETECTED = "40P01"
LOCK_FAILURES = frozenset({LOCK_NOT_AVAILABLE, DEADLOCK_DETECTED})


def build_index(
    schema_editor: BaseDatabaseSchemaEditor, model: type[Model], index: Index, patience: Patience
) -> None:
    """Have a valid `index` on the model's table, whatever an earlier run left behind.

    Raises:
        PartitionedTableError: The table is partitioned; nothing was changed.
        IndexConflictError: Another index has the name; nothing was changed.
        IndexLockedError: A lock was not to be had in all attempts; running it again is safe.
    """
    table = model._meta.db_table
    _refuse_partitioned(schema_editor.connection, table, index.name)
    _patiently(
        schema_editor.connection, index.name, patience, lambda: _ensure_built(schema_editor, model, index)
    )


def drop_index(
    schema_editor: BaseDatabaseSchemaEditor, model: type[Model], name: str, patience: Patience
) -> None:
    """Have no index `name` on the model's table; one that is gone already is no error.

    Raises:
        PartitionedTableError, IndexConflictError, IndexLockedError: As `build_index`.
    """
    table = model._meta.db_table
    _refuse_partitioned(schema_editor.connection, table, name)
    _patiently(schema_editor.connection, name, patience, lambda: _ensure_dropped(schema_editor, table, name))


def drop_statement(schema_editor: BaseDatabaseSchemaEditor, table: str, name: str) -> str:
    """Return the statement that drops the index, made from the names alone, without a query."""
    schema, _ = split_identifier(table)
    return _drop_sql(schema_editor, schema, name)


def _patiently(
    connection: BaseDatabaseWrapper, name: str, patience: Patience, attempt: Callable[[], int | None]
) -> None:
    """Call `attempt`, with the session's timeouts set, until it returns None and not a pid to wait for."""
    problem, cause = "", None
    for pause in patience.pauses():
        if pause:
            logger.warning("Index %s: %s; trying again in %g s.", name, problem, pause)
            time.sleep(pause)
        try:
            with session_settings(connection, lock_timeout=patience.lock_timeout, statement_timeout="0"):
                builder_pid = attempt()
        except OperationalError as error:
            if sqlstate(error) not in LOCK_FAILURES:
                raise
            problem, cause = str(error).strip().splitlines()[0], error
        else:
            if builder_pid is None:
                return
            problem, cause = f"the server's process {builder_pid} is still building it", None
    raise IndexLockedError(name, patience.attempts, problem) from cause


def _ensure_built(schema_editor: BaseDatabaseSchemaEditor, model: type[Model], index: Index) -> int | None:
    """Make one attempt, see Note [Killed while building]; return the pid of a process that builds it."""
    table = model._meta.db_table
    there = find_index(schema_editor.connection, table, index.name)
    wanted = wanted_shape(schema_editor, model, index) if there and there.is_valid else None
    step = next_step(there, wanted)
    if there is not None:
        if step is Step.KEEP:
            logger.warning("Index %s is there already, valid and as wanted: left as it is.", index.name)
            return None
        if step is Step.REFUSE:
            raise IndexConflictError(
                index.name, f"{there.definition};", f"{index.create_sql(model, schema_editor)};"
            )
        if step is Step.WAIT:
            return there.builder_pid
        logger.warning(
            "Index %s is invalid, left by a build that did not finish: dropped and built anew.", index.name
        )
        _drop(schema_editor, there)
    try:
        schema_editor.execute(index.create_sql(model, schema_editor, concurrently=True), params=None)
    except DatabaseError:
        _drop_leftover(schema_editor, table, index.name)
        raise
    return None


def _ensure_dropped(schema_editor: BaseDatabaseSchemaEditor, table: str, name: str) -> int | None:
    there = find_index(schema_editor.connection, table, name)
    if there is None:
        return None
    if not there.is_on_table:
        raise IndexConflictError(name, f"{there.definition};", f"to drop it from {table}.")
    if there.builder_pid:
        return there.builder_pid
    _drop(schema_editor, there)
    return None


def _drop_leftover(schema_editor: BaseDatabaseSchemaEditor, table: str, name: str) -> None:
    """Drop what a failed build left; where that meets a lock too, the next attempt or run does it."""
    if not is_alive(schema_editor.connection):
        return
    there = find_index(schema_editor.connection, table, name)
    if there is None or there.is_valid or there.builder_pid or not there.is_on_table:
        return
    try:
        _drop(schema_editor, there)
    except OperationalError as error:
        if sqlstate(error) not in LOCK_FAILURES:
            raise
        logger.warning("Index %s is left invalid, for others use its table; the next run drops it.", name)


def _drop(schema_editor: BaseDatabaseSchemaEditor, there: IndexState) -> None:
    schema_editor.execute(_drop_sql(schema_editor, there.schema, there.name), params=None)


def _drop_sql(schema_editor: BaseDatabaseSchemaEditor, schema: str, name: str) -> str:
    path = ".".join(schema_editor.quote_name(part) for part in (schema, name) if part)
    return f"DROP INDEX CONCURRENTLY IF EXISTS {path}"


def _refuse_partitioned(connection: BaseDatabaseWrapper, table: str, name: str) -> None:
    state = find_table(connection, table)
    if state is not None and state.is_partitioned:
        raise PartitionedTableError(table, name)
