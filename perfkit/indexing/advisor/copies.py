"""Copies of tables in a scratch schema: small ones wholly, large ones in a part that tells the truth about them.

# Note [What a sampled copy keeps]
A copy in a ratio of 1:k has scans and sorts that cost about 1/k of the table's, and lookups that cost nearly
what they do in the table. So a gain on a copy is less than the real one, never more.
Rows keep the order in which they lie, for ranges cost by that.
The copy is as visible to index-only scans as its table.
A sampled parent keeps the rows that kept children name, or joins would find nothing.
Statistics are made of all rows of the copy, so that two runs see the same; see `_analyze`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from django.db import DatabaseError

from perfkit.indexing.advisor.live_tables import LiveTable, Share, share_of
from perfkit.indexing.advisor.sessions import Session
from perfkit.postgres.session import sqlstate

SEED: Final = 1
SAMPLED_PAGES: Final = 2_000
"""From so many on whole pages are drawn, which reads no others; below it, rows."""

ROWS_PER_STATISTICS_TARGET: Final = 300
"""ANALYZE reads so many rows for each step of the largest target among the columns."""

HIGHEST_TARGET: Final = 10_000

KEYS_SQL = """
SELECT child.relname::text, ca.attname::text, parent.relname::text, pa.attname::text
FROM pg_constraint k
JOIN pg_class child ON child.oid = k.conrelid
JOIN pg_class parent ON parent.oid = k.confrelid
JOIN pg_attribute ca ON ca.attrelid = k.conrelid AND ca.attnum = k.conkey[1]
JOIN pg_attribute pa ON pa.attrelid = k.confrelid AND pa.attnum = k.confkey[1]
WHERE k.contype = 'f' AND cardinality(k.conkey) = 1 AND k.conrelid <> k.confrelid
  AND k.conrelid = ANY(%s::bigint[]::oid[]) AND k.confrelid = ANY(%s::bigint[]::oid[])
ORDER BY 1, 2, 3, 4
"""

INDEXES_SQL = """
SELECT i.relname::text, pg_get_indexdef(x.indexrelid),
       'CREATE ' || CASE WHEN x.indisunique THEN 'UNIQUE ' ELSE '' END || 'INDEX ' || quote_ident(i.relname)
       || ' ON ' || CASE WHEN i.relkind = 'I' THEN 'ONLY ' ELSE '' END
       || quote_ident(n.nspname) || '.' || quote_ident(t.relname) || ' ',
       x.indisunique, x.indisprimary, quote_ident(i.relname)
FROM pg_index x
JOIN pg_class i ON i.oid = x.indexrelid
JOIN pg_class t ON t.oid = x.indrelid
JOIN pg_namespace n ON n.oid = t.relnamespace
WHERE x.indrelid = %s AND x.indisvalid AND x.indisready
ORDER BY i.oid
"""

COLUMNS_SQL = """
SELECT a.attname::text, nullif(a.attstattarget, -1), a.attoptions,
       EXISTS (SELECT FROM pg_index x WHERE x.indrelid = a.attrelid AND x.indisunique AND x.indnkeyatts = 1
               AND x.indkey[0] = a.attnum AND x.indpred IS NULL)
FROM pg_attribute a
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""


@dataclass(frozen=True, slots=True)
class Copy:
    """A table's copy.

    Attributes:
        rows: That it has.
        ratio: How many rows of the table stand behind one of it, at least 1.0.
        is_whole: Whether it has all of them.
        existing: How many indexes were there already.
        pages: That it fills.
    """

    table: LiveTable
    rows: int
    ratio: float
    is_whole: bool
    existing: int
    pages: int


def make_copies(
    session: Session, schema: str, tables: Iterable[LiveTable], *, most_rows: int, most_bytes: int
) -> tuple[dict[str, Copy], dict[str, str]]:
    """Copy tables with their indexes and statistics into the schema.

    Of each live table one ACCESS SHARE lock is taken, for as long as its rows are read.

    Args:
        most_rows: Of one copy.
        most_bytes: Of all copies together, without indexes.

    Returns:
        The copies, and why there is none of a table: a lock was not to be had, its reading took too long.

    Raises:
        Error: The session has ended.
        OutOfTimeError: The deadline came first.
    """
    wanted = sorted(tables, key=lambda each: each.name)
    keys = _keys(session, wanted)
    each_bytes = _bytes_of_large(wanted, most_bytes)
    shares = {t.name: share_of(t, most_rows=most_rows, most_bytes=each_bytes) for t in wanted}
    copies: dict[str, Copy] = {}
    problems: dict[str, str] = {}
    for table in _children_first(wanted, keys):
        share = shares[table.name]
        named_by = [
            (child, column, key)
            for child, column, parent, key in keys
            if parent == table.name and child in copies
        ]
        try:
            session.limit()
            _make_table(session, schema, table)
            session.limit()
            _fill(session, schema, table, share, named_by if not table.is_partitioned else [])
            copies[table.name] = _finish(session, schema, table, share)
        except DatabaseError as error:
            if session.wrapper.connection.closed:
                raise
            problems[table.name] = f"{table.name} could not be copied (SQLSTATE {sqlstate(error)})"
            copy, _ = _names(session, schema, table)
            session.run(f"DROP TABLE IF EXISTS {copy}")
    return copies, problems


def _keys(session: Session, tables: list[LiveTable]) -> list[tuple[str, str, str, str]]:
    oids = [each.oid for each in tables]
    return [
        (child, column, parent, key) for child, column, parent, key in session.run(KEYS_SQL, [oids, oids])
    ]


def _bytes_of_large(tables: list[LiveTable], most_bytes: int) -> int:
    """Return what one table may have so that all together have no more; small ones leave theirs to others."""
    left, most = most_bytes, most_bytes
    for number, table in enumerate(sorted(tables, key=lambda each: each.size_bytes)):
        most = left // (len(tables) - number)
        left -= min(table.size_bytes, most)
    return max(most, 1)


def _children_first(tables: list[LiveTable], keys: list[tuple[str, str, str, str]]) -> list[LiveTable]:
    """Return tables so that those that name others come before them; in a circle, by name."""
    left, done = {each.name: each for each in tables}, []
    while left:
        parents = {parent for child, _, parent, _ in keys if child in left and parent != child}
        free = [name for name in left if name not in parents] or sorted(left)[:1]
        done += [left.pop(name) for name in free]
    return done


def _make_table(session: Session, schema: str, table: LiveTable) -> None:
    copy, live = _names(session, schema, table)
    session.run(
        f"CREATE UNLOGGED TABLE {copy} "
        f"(LIKE {live} INCLUDING STATISTICS INCLUDING STORAGE INCLUDING COMPRESSION) "
        "WITH (autovacuum_enabled = false, toast.autovacuum_enabled = false)"
    )


def _fill(
    session: Session, schema: str, table: LiveTable, share: Share, named_by: list[tuple[str, str, str]]
) -> None:
    copy, live = _names(session, schema, table)
    quote = session.quote
    if share.percent is None:
        session.run(f"INSERT INTO {copy} SELECT * FROM {live}")
        return
    pages = table.size_bytes / 8192 * share.percent / 100
    method = "SYSTEM" if pages >= SAMPLED_PAGES else "BERNOULLI"
    drawn = f"{live} TABLESAMPLE {method} ({share.percent:.6f}) REPEATABLE ({SEED})"
    if not named_by:
        session.run(f"INSERT INTO {copy} SELECT * FROM {drawn}")
        return
    # Half for the rows that children name, the other half drawn from all.
    drawn = f"{live} TABLESAMPLE {method} ({share.percent / 2:.6f}) REPEATABLE ({SEED})"
    most = max(1, share.rows // 2 // len(named_by))
    named = [
        f"SELECT p.ctid FROM (SELECT DISTINCT {quote(column)} AS k FROM {quote(schema)}.{quote(child)} "
        f"WHERE {quote(column)} IS NOT NULL ORDER BY 1 LIMIT {most}) c JOIN {live} p ON p.{quote(key)} = c.k"
        for child, column, key in named_by
    ]
    kept = " UNION ".join([f"SELECT ctid FROM {drawn}", *named])
    session.run(
        f"INSERT INTO {copy} SELECT t.* FROM ({kept}) AS kept (place) JOIN {live} t ON t.ctid = kept.place "
        "ORDER BY t.ctid"
    )


def _finish(session: Session, schema: str, table: LiveTable, share: Share) -> Copy:
    copy, _ = _names(session, schema, table)
    rows = session.value(f"SELECT count(*) FROM {copy}")
    existing = 0
    for _, definition, beginning, _, is_primary, name in session.run(INDEXES_SQL, [table.oid]):
        if not definition.startswith(beginning):
            continue  # of another form than this server's own: it cannot be
        session.limit()
        head = beginning[: beginning.index(" ON ")]
        session.run(f"{head} ON {copy} {definition[len(beginning) :]}")
        if is_primary:  # a GROUP BY of it alone may stand beside any column
            session.run(f"ALTER TABLE {copy} ADD PRIMARY KEY USING INDEX {name}")
        existing += 1
    _analyze(session, copy, table, rows)
    ratio = 1.0 if share.percent is None else max(1.0, (table.rows or share.rows) / max(rows, 1))
    pages = session.value("SELECT relpages FROM pg_class WHERE oid = to_regclass(%s)", [copy])
    return Copy(table, rows, ratio, share.percent is None, existing, pages)


def _analyze(session: Session, copy: str, table: LiveTable, rows: int) -> None:
    """Have statistics of all rows of the copy, so that no chance is in them.

    ANALYZE reads as many rows as the column with the largest target wants.
    One column gets a target that wants all; the others keep theirs, so that lists of common values
    are as long as the table's own.
    """
    columns = session.run(COLUMNS_SQL, [table.oid])
    reader = next(
        (name for name, _, _, is_unique in columns if is_unique), columns[-1][0] if columns else None
    )
    for name, target, attribute_options, _ in columns:
        column = session.quote(name)
        if attribute_options:
            session.run(f"ALTER TABLE {copy} ALTER {column} SET ({', '.join(attribute_options)})")
        of_all = min(HIGHEST_TARGET, 100 + rows // ROWS_PER_STATISTICS_TARGET)
        wanted = max(target or 0, of_all) if name == reader else target
        if wanted is not None:
            session.run(f"ALTER TABLE {copy} ALTER {column} SET STATISTICS {wanted}")
    session.limit()
    session.run(f"{'VACUUM (ANALYZE)' if table.is_visible else 'ANALYZE'} {copy}")


def _names(session: Session, schema: str, table: LiveTable) -> tuple[str, str]:
    quote: Any = session.quote
    return f"{quote(schema)}.{quote(table.name)}", f"{quote(table.schema)}.{quote(table.name)}"
