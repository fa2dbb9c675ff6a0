"""Counts the rows that keep a constraint from being had, and writes the statement that finds them."""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.postgres.catalogue import IndexShape


def duplicates(connection: BaseDatabaseWrapper, table: str, shape: IndexShape) -> tuple[str, str]:
    """Return how many rows of a table a unique index of this shape could not hold, and what finds them.

    Queries: 1, which reads the table.
    """
    keys = ", ".join(f"({column})" for column in shape.columns[: shape.key_columns])
    conditions = [f"({shape.condition})"] if shape.condition else []
    if not shape.nulls_are_equal:
        conditions += [f"({column}) IS NOT NULL" for column in shape.columns[: shape.key_columns]]
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    statement = (
        f"SELECT {keys}, count(*) FROM {connection.ops.quote_name(table)}{where}"  # noqa: S608  # of the catalogue
        f" GROUP BY {keys} HAVING count(*) > 1"
    )
    counts = f"SELECT count(*), coalesce(sum(count), 0) FROM ({statement}) AS doubles"  # noqa: S608  # see above
    with connection.cursor() as cursor:
        cursor.execute(counts)
        values, rows = cursor.fetchone()
    return f"{rows:,} rows share {values:,} values", f"{statement};"


def unfitting(connection: BaseDatabaseWrapper, table: str, condition: str) -> tuple[str, str]:
    """Return how many rows of a table meet a condition that none may meet, and what finds them.

    Queries: 1, which reads the table.
    """
    rest = f"FROM {connection.ops.quote_name(table)} AS checked WHERE {condition}"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) {rest}")  # of the catalogue
        (rows,) = cursor.fetchone()
    return f"{rows:,} rows do not meet it", f"SELECT * {rest};"  # of the catalogue
