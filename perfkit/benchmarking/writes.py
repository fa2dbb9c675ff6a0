"""Writes of many rows, into a table that only this transaction sees, and that is gone with it.

# Note [The scratch table]
A temporary table of the same name stands before the real one for this connection: what is written to that name
goes into it.
It has the columns, the indexes and the constraints of the real one, but neither its foreign keys nor its triggers;
on SQLite it has the columns, and the index of the key alone.
Its rows bring their keys along, so no sequence is drawn from.
All of it is in one transaction, which is rolled back, on a connection of its own, which is closed.
Before anything is written the database is asked whether the name means the temporary table.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from django.db import Error, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model, QuerySet

from perfkit.benchmarking.pairs import Pair
from perfkit.benchmarking.reads import Reads
from perfkit.bulk import bulk_insert, bulk_update
from perfkit.errors import BenchmarkError

MOST_ROWS: Final = 5_000
BATCH_ROWS: Final = 1_000


@contextmanager
def write_pairs(reads: Reads) -> Iterator[list[Pair]]:
    """Yield what can be measured of writing rows of a model; at the end of the block nothing of it is left.

    See Note [The scratch table].

    Raises:
        BenchmarkError: No such table can be made.
    """
    model, using = reads.chosen.model, reads.using
    if model._meta.parents or '"' in model._meta.db_table:
        raise BenchmarkError(
            f"{model._meta.label} is not written: its rows are in several tables, or in another schema."
        )
    rows = list(reads.plain[:MOST_ROWS])
    with _own_connection(using) as connection, transaction.atomic(using=using):
        try:
            _make_scratch(connection, model)
            yield _pairs(reads, rows, connection)
        except Error as error:
            reason = str(error).splitlines()[0]
            raise BenchmarkError(f"{model._meta.label} is not written: {reason}") from error
        finally:
            transaction.set_rollback(True, using=using)


@contextmanager
def _own_connection(using: str) -> Iterator[BaseDatabaseWrapper]:
    """Have the alias mean a new connection within the block: the process's own would not be as it was."""
    usual = connections[using]
    del connections[using]
    try:
        yield connections[using]
    finally:
        connections[using].close()
        connections[using] = usual


def _pairs(reads: Reads, rows: list[Any], connection: BaseDatabaseWrapper) -> list[Pair]:
    model, using = reads.chosen.model, reads.using
    table: QuerySet[Any, Any] = QuerySet(model, using=using)
    label, count = reads.chosen.label, f"{len(rows):,}"

    def empty() -> None:
        _empty_scratch(connection, model)

    def insert_before() -> int:
        return len(table.bulk_create(rows, batch_size=BATCH_ROWS))

    def insert_after() -> int:
        return bulk_insert(model, rows, using=using).rows

    found = [
        Pair(
            label,
            f"insert {count} rows",
            "bulk_create()",
            insert_before,
            "bulk_insert()",
            insert_after,
            prepare=empty,
        )
    ]
    if name := changeable(model):

        def fill() -> None:
            empty()
            bulk_insert(model, rows, using=using)

        def update_before() -> int:
            return int(table.bulk_update(rows, [name], batch_size=BATCH_ROWS))

        def update_after() -> int:
            return bulk_update(model, rows, fields=[name], using=using).updated

        found.append(
            Pair(
                label,
                f"update {name} of {count} rows",
                "bulk_update() of Django",
                update_before,
                "bulk_update() of perfkit",
                update_after,
                prepare=fill,
            )
        )
    return found


def changeable(model: type[Model]) -> str:
    """Return the first column that can be written without a clash; an empty text where there is none."""
    for field in model._meta.concrete_fields:
        is_plain = not field.primary_key and not field.unique and not field.is_relation
        if is_plain and not getattr(field, "generated", False) and field.editable:
            return field.name
    return ""


def _make_scratch(connection: BaseDatabaseWrapper, model: type[Model]) -> None:
    table = connection.ops.quote_name(model._meta.db_table)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(f"CREATE TEMPORARY TABLE {table} (LIKE {table} INCLUDING ALL) ON COMMIT DROP")
            # A statement that was prepared before goes on meaning the real table.
            cursor.execute("DISCARD PLANS")
            cursor.execute("SELECT to_regclass(%s) = to_regclass(%s)", [table, f"pg_temp.{table}"])
        elif connection.vendor == "sqlite":
            cursor.execute(f"CREATE TEMPORARY TABLE {table} AS SELECT * FROM main.{table} WHERE 0")  # noqa: S608  # a quoted name
            keys = ", ".join(connection.ops.quote_name(str(field.column)) for field in model._meta.pk_fields)
            cursor.execute(f"CREATE UNIQUE INDEX temp.perfkit_scratch_key ON {table} ({keys})")
            cursor.execute(f"SELECT count(*) = 0 FROM {table}")  # noqa: S608  # likewise
        else:
            raise BenchmarkError("Writes are measured on PostgreSQL and SQLite only.")
        [[is_scratch]] = cursor.fetchall()
    if not is_scratch:
        raise BenchmarkError(
            f"{model._meta.label} is not written: in this search path a temporary table does not stand before it."
        )


def _empty_scratch(connection: BaseDatabaseWrapper, model: type[Model]) -> None:
    table = connection.ops.quote_name(model._meta.db_table)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(f"TRUNCATE pg_temp.{table}")
        else:
            cursor.execute(f"DELETE FROM temp.{table}")  # noqa: S608  # a quoted name
