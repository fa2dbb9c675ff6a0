"""The tables of a workload as the catalogue has them, and how much of each is copied."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from perfkit.indexing.advisor.sessions import Session

MOSTLY: Final = 0.5

TABLES_SQL = """
SELECT wanted.name, n.nspname::text, c.relkind::text,
       CASE WHEN c.relkind = 'p' THEN p.rows ELSE nullif(c.reltuples, -1) END,
       CASE WHEN c.relkind = 'p' THEN p.bytes
            WHEN c.relpages = 0 THEN pg_table_size(c.oid)
            ELSE 8192 * (c.relpages::bigint + coalesce(toast.relpages, 0)) END,
       CASE WHEN c.relkind = 'p' THEN 0 ELSE c.relallvisible::float8 / nullif(c.relpages, 0) END,
       has_table_privilege(c.oid, 'SELECT'), c.relrowsecurity AND NOT pg_has_role(c.relowner, 'USAGE'),
       c.oid::bigint
FROM unnest(%s::text[]) AS wanted (name)
JOIN pg_class c ON c.oid = to_regclass(quote_ident(wanted.name))
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_class toast ON toast.oid = c.reltoastrelid
LEFT JOIN LATERAL (
    SELECT sum(nullif(l.reltuples, -1)) AS rows, sum(8192 * l.relpages::bigint) AS bytes
    FROM pg_partition_tree(c.oid) t JOIN pg_class l ON l.oid = t.relid AND l.relkind <> 'p'
) p ON c.relkind = 'p'
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND c.relpersistence <> 't'
ORDER BY wanted.name
"""
# A size that is asked for waits for whoever has locked the table; the catalogue does not.


@dataclass(frozen=True, slots=True)
class LiveTable:
    """A table that is to be copied.

    Attributes:
        rows: As the catalogue estimates them, None where nobody has counted.
        is_visible: Whether index-only scans need not look into most of its pages.
        problem: Why it cannot be copied; empty where it can.
    """

    name: str
    schema: str
    oid: int
    rows: int | None
    size_bytes: int
    is_visible: bool
    is_partitioned: bool
    problem: str


@dataclass(frozen=True, slots=True)
class Share:
    """How much of a table is copied; `percent` is None for all."""

    percent: float | None
    rows: int


def live_tables(session: Session, names: Iterable[str]) -> dict[str, LiveTable]:
    """Return those of `names` that are found through the search path.

    Queries: 1.
    """
    found = {}
    for name, schema, kind, rows, size, visible, may_read, is_secured, oid in session.run(
        TABLES_SQL, [sorted(set(names))]
    ):
        problem = ""
        if kind not in {"r", "p", "m"}:
            problem = f"{name} is no table"
        elif not may_read:
            problem = f"the role may not read it: GRANT SELECT ON {schema}.{name}"
        elif is_secured:
            problem = f"row security hides rows of {name} from the role"
        is_visible = (visible or 0.0) > MOSTLY
        is_partitioned = kind == "p"
        count = None if rows is None else int(rows)
        found[name] = LiveTable(name, schema, oid, count, int(size or 0), is_visible, is_partitioned, problem)
    return found


def share_of(table: LiveTable, *, most_rows: int, most_bytes: int) -> Share:
    """Return how much of a table is copied: all of it, or what is within both limits."""
    rows = table.rows if table.rows is not None else table.size_bytes // 50
    part = min(
        most_rows / rows if rows else 1.0,
        most_bytes / table.size_bytes if table.size_bytes else 1.0,
    )
    return Share(None, rows) if part >= 1.0 else Share(100.0 * part, max(1, int(rows * part)))
