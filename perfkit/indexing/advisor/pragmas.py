"""Reads the indexes, tables and foreign keys of SQLite from its PRAGMAs."""

from __future__ import annotations

import re
import sqlite3
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.indexing.advisor.catalogue import without_brackets
from perfkit.indexing.advisor.specs import IndexSpec, Key
from perfkit.indexing.advisor.standing import Inventory, Reference, StandingIndex, StandingTable

INDEXES_SQL: Final = """
SELECT t.name, l.name, l."unique", l.origin, coalesce(m.sql, ''), x.name, x.cid, x."desc", x.coll
FROM sqlite_master t
JOIN pragma_index_list(t.name) l
JOIN pragma_index_xinfo(l.name) x ON x.key
LEFT JOIN sqlite_master m ON m.type = 'index' AND m.name = l.name
WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
ORDER BY t.name, l.name, x.seqno
"""

REFERENCES_SQL: Final = """
SELECT t.name, f.id, f."from", f."table"
FROM sqlite_master t
JOIN pragma_foreign_key_list(t.name) f
WHERE t.type = 'table'
ORDER BY t.name, f.id, f.seq
"""

ANALYZED_SQL: Final = "SELECT count(*) FROM sqlite_master WHERE name = 'sqlite_stat1'"
ROWS_SQL: Final = (
    "SELECT tbl, max(CAST(stat AS INTEGER)) FROM sqlite_stat1 WHERE stat IS NOT NULL GROUP BY tbl"
)
TABLES_SQL: Final = (
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
)
DIRECTION: Final = re.compile(r"\s+(ASC|DESC)\s*$", re.IGNORECASE)
WHERE: Final = re.compile(r"^\s*WHERE\s+", re.IGNORECASE)


def sqlite_inventory(connection: BaseDatabaseWrapper) -> Inventory:
    """Return what stands in the tables; how often anything is used, SQLite does not count.

    Queries: 5, at any number of tables.
    """
    grouped: dict[tuple[str, str], list[tuple[Any, ...]]] = {}
    for row in _rows(connection, INDEXES_SQL):
        grouped.setdefault(row[:2], []).append(row)
    has_figures = _rows(connection, ANALYZED_SQL)[0][0]
    counts = dict(_rows(connection, ROWS_SQL)) if has_figures else {}
    tables = {name: StandingTable(name, counts.get(name)) for (name,) in _rows(connection, TABLES_SQL)}
    ends: dict[tuple[str, int], tuple[list[str], str]] = {}
    for table, number, column, target in _rows(connection, REFERENCES_SQL):
        ends.setdefault((table, number), ([], target))[0].append(column)
    references = (Reference(table, tuple(columns), target) for (table, _), (columns, target) in ends.items())
    return Inventory(connection.alias, tuple(map(_index, grouped.values())), tables, tuple(references))


def _index(rows: list[tuple[Any, ...]]) -> StandingIndex:
    table, name, is_unique, origin, sql = rows[0][:5]
    texts, condition = parts_of_statement(sql) if sql else ([], "")
    keys = tuple(
        Key(column, descending=bool(descending))
        if number >= 0
        else Key(without_brackets(DIRECTION.sub("", texts[place])), True, "", bool(descending))
        for place, (column, number, descending) in enumerate(row[5:8] for row in rows)
    )
    return StandingIndex(
        name,
        IndexSpec(table, keys, (), condition, is_unique=bool(is_unique)),
        sql,
        collations=" ".join(row[8] or "" for row in rows),
        held_by="" if origin == "c" else "constraint",
    )


def statement_spec(database: sqlite3.Connection, table: str, name: str) -> IndexSpec:
    """Return one index of a database that is not Django's."""
    rows = [row for row in database.execute(INDEXES_SQL) if row[:2] == (table, name)]
    return _index(rows).spec


def parts_of_statement(sql: str) -> tuple[list[str], str]:
    """Return the keys and the condition of a CREATE INDEX, as they are written. Pure."""
    texts, depth, is_quoted, begin = [], 0, "", 0
    for place, letter in enumerate(sql):
        if is_quoted:
            is_quoted = "" if letter == is_quoted else is_quoted
        elif letter in "'\"`":
            is_quoted = letter
        elif letter == "(":
            depth += 1
            begin = place + 1 if depth == 1 else begin
        elif letter in "),":
            if depth == 1:
                texts.append(sql[begin:place].strip())
                begin = place + 1
            depth -= letter == ")"
            if not depth:
                return texts, without_brackets(WHERE.sub("", sql[place + 1 :]).strip().rstrip(";"))
    return texts, ""


def _rows(connection: BaseDatabaseWrapper, sql: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows
