"""Looks up constraints in PostgreSQL's system catalogue."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.backends.base.base import BaseDatabaseWrapper


@dataclass(frozen=True, slots=True)
class ConstraintState:
    """One constraint of a table as the catalogue has it.

    Attributes:
        kind: `c` check, `f` foreign key, `u` unique, `p` primary key, `x` exclusion.
        is_valid: False for one that was added NOT VALID and has not been validated.
        definition: As PostgreSQL writes it, without NOT VALID.
        check: The expression of a check.
        columns: Of the table, by name.
        target_oid: The table that a foreign key refers to, 0 for others.
        target_columns: Those that a foreign key refers to.
    """

    kind: str
    is_valid: bool
    is_deferrable: bool
    is_deferred: bool
    definition: str
    check: str | None
    columns: tuple[str, ...]
    target_oid: int
    target_columns: tuple[str, ...]


CONSTRAINT_SQL = """
SELECT k.contype::text, k.convalidated, k.condeferrable, k.condeferred, pg_get_constraintdef(k.oid),
       pg_get_expr(k.conbin, k.conrelid), k.confrelid::bigint,
       ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS c (number, place)
             JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = c.number ORDER BY c.place),
       ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY AS c (number, place)
             JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = c.number ORDER BY c.place)
FROM pg_constraint k
WHERE k.conrelid = to_regclass(%s) AND k.conname = %s
"""


def find_constraint(connection: BaseDatabaseWrapper, table: str, name: str) -> ConstraintState | None:
    """Return the constraint `name` of `table`, a model's `db_table`, or None where there is no such one.

    Queries: 1.
    """
    with connection.cursor() as cursor:
        cursor.execute(CONSTRAINT_SQL, [connection.ops.quote_name(table), name])
        row = cursor.fetchone()
    if row is None:
        return None
    kind, is_valid, is_deferrable, is_deferred, definition, check, target_oid, columns, target_columns = row
    return ConstraintState(
        kind,
        is_valid,
        is_deferrable,
        is_deferred,
        definition.removesuffix(" NOT VALID"),
        check,
        tuple(columns),
        target_oid,
        tuple(target_columns),
    )
