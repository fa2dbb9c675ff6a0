"""Which cached rows a SQL statement may change, read from its text and parameters.

Pure. When in doubt it names the whole table: invalidating too much is only slow.
What a statement does not name (a trigger, a function's body, a view behind the table) cannot be seen here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from perfkit.caching.inserts import Insert, insert_of
from perfkit.caching.named_rows import NamedRows, WriteByKey, named_rows, write_by_key
from perfkit.caching.registry import DeclaredColumn, TrackedTable, plain_table_name
from perfkit.caching.sessions import (
    SETS_NOTHING,
    commits_prepared,
    executes_prepared,
    may_commit,
    prepares_transaction,
    settings_in,
)
from perfkit.caching.tags import any_write_tag, key_text, row_prefix, table_tag, value_tag

MOST_ROW_TAGS: Final = 500
"""A statement that names more rows than this is taken as a write to the whole table."""

MOST_STATEMENTS: Final = 1_000
LONGEST_KEPT: Final = 4_000
"""Characters of a statement that is worth keeping; longer ones are lists of values, and seldom come again."""

_read: tuple[Mapping[str, TrackedTable], dict[str, Statement]] = ({}, {})
"""The tracked tables, and the statements that were read for them."""

READS: Final = frozenset(
    "analyze begin close comment commit create deallocate declare discard end explain fetch grant listen lock "  # noqa: SIM905  # a list of words
    "notify pragma reindex release reset revoke rollback savepoint select set show start table unlisten vacuum "
    "values with".split()
)
"""First words of statements that change no row of an existing table, unless a second one hides in them."""

FIRST_WORD: Final = re.compile(
    r"(?>(?:\s|\(|--[^\n\r]*|/\*(?:(?!\*/).)*\*/)*)([a-z]+)", re.IGNORECASE | re.DOTALL
)
WRITING_WORD: Final = re.compile(
    r"\b(?:insert|update|delete|merge|truncate|copy|into|alter|drop|replace|call|do|execute)\b", re.IGNORECASE
)
CHANGES_TABLES: Final = re.compile(r"\b(?:alter|drop|create|grant|revoke)\b", re.IGNORECASE)
CHANGES_SCHEMAS: Final = re.compile(r"\b(?:alter\s+schema|drop\s+(?:schema|owned))\b", re.IGNORECASE)
"""What may put other tables under the names of all."""

ESCAPED_NAME: Final = 'u&"'
"""Begins a name whose letters PostgreSQL lets stand as numbers."""

HARMLESS_CREATE: Final = re.compile(
    r"\s*create\s+(?:(?:unique\s+)?index|extension|type|domain|sequence|schema|role|user|database|statistics"
    r"|collation|tablespace|publication|subscription)\b",
    re.IGNORECASE,
)
PLAIN_INSERT: Final = re.compile(r"\s*insert\s+into\b", re.IGNORECASE)
BEYOND_INSERT: Final = re.compile(r"\b(?:conflict|update|delete|merge|replace)\b", re.IGNORECASE)
TRUNCATE_CASCADE: Final = re.compile(r"\btruncate\b.*\bcascade\b", re.IGNORECASE | re.DOTALL)
DELETES: Final = re.compile(r"\b(?:delete|replace|merge|do|call|execute)\b", re.IGNORECASE)
"""What may delete rows so that the database cascades: TRUNCATE does not."""


class Statement:
    """What the text of a SQL statement says, whatever its parameters.

    Args:
        sql: With placeholders.
        tracked: The tables to look for by name, names in lower case; a `*` at the end stands for any rest.

    Attributes:
        is_read: Whether it changes no row.
        written: The tracked tables that it may write.
        sets: What it may set of its session or its transaction.
        prepares: Whether it may be the first half of a two-phase commit.
        commits_prepared: Whether it may be the second.
        changed: The names of those whose rows it may change besides, without naming them.
        changes_tables: Whether it may change a table, or who may read it.
        inserted: The table with declared columns whose new rows it gives values to, with quotes; else empty.
        by_key: How it names the rows it changes, where their former values are worth finding out.
        concerns_nobody: Whether it may change rows, and neither those of a tracked table nor anything else that
            matters: most writes are of this kind.
        only_writes: Whether it may change rows of tracked tables, and nothing else.
    """

    __slots__ = (
        "_insert",
        "_is_divided",
        "_is_plain_insert",
        "_named",
        "_row_names",
        "_tables",
        "by_key",
        "changed",
        "changes_tables",
        "commits_prepared",
        "concerns_nobody",
        "inserted",
        "is_read",
        "only_writes",
        "prepares",
        "sets",
        "written",
    )

    def __init__(self, sql: str, tracked: Mapping[str, TrackedTable]) -> None:
        self.is_read = is_read(sql)
        self.sets = settings_in(sql)
        self.prepares = prepares_transaction(sql)
        self.commits_prepared = commits_prepared(sql)
        self.written: tuple[TrackedTable, ...] = ()
        self.changed: frozenset[str] = frozenset()
        self.changes_tables = bool(CHANGES_TABLES.search(sql))
        self.inserted = ""
        self.by_key: WriteByKey | None = None
        self._named: NamedRows | None = None
        self._is_divided = False
        self._is_plain_insert = False
        self._insert: Insert | None = None
        self._tables: dict[str, tuple[str, ...]] = {}  # by database, as the next
        self._row_names: dict[str, tuple[str, frozenset[str]]] = {}
        self.concerns_nobody = False
        self.only_writes = False
        if self.is_read:
            return
        self._read_writes(sql, tracked)
        is_mere_write = not (
            self.changes_tables
            or self.prepares
            or self.commits_prepared
            or self.sets != SETS_NOTHING
            or may_commit(sql, by_release=True)
        )
        self.concerns_nobody = is_mere_write and not self.is_tracked
        self.only_writes = is_mere_write and self.is_tracked

    def _read_writes(self, sql: str, tracked: Mapping[str, TrackedTable]) -> None:
        self._named = named_rows(sql, tracked)
        lowered = sql.lower()
        if _may_write_any(sql, lowered):
            named = tuple(tracked.values())
        else:
            named = tuple(table for name, table in tracked.items() if _is_named(name, lowered))
        if self._named is None or self._named.table is not None:
            self.written = tuple(table for table in named if table.is_read)
        self.changed = frozenset().union(*[table.changes for table in named])
        if any(table.cascades for table in named) and DELETES.search(sql):
            self.changed = self.changed.union(*[table.cascades for table in named])
        self._is_plain_insert = bool(
            PLAIN_INSERT.match(sql) and not BEYOND_INSERT.search(sql) and ";" not in sql
        )
        self._is_divided = any(table.declared for table in self.written)
        if self._is_divided:
            self.by_key = write_by_key(sql, self._named)
            self._insert = insert_of(sql) if self._is_plain_insert else None
            if self._insert is not None:
                self.inserted = f'"{self._insert.table}"'

    @property
    def is_tracked(self) -> bool:
        """Whether it may change rows that cached reads depend on."""
        return bool(self.written or self.changed)

    def tables(self, database: str) -> tuple[str, ...]:
        """Return the own tags of all tables whose rows it may change."""
        tables = self._tables.get(database)
        if tables is None:
            names = {*self.changed, *[table.name for table in self.written]}
            tables = self._tables[database] = tuple(table_tag(database, name) for name in names)
        return tables

    def tags(self, database: str, params: object, *, many: bool) -> frozenset[str]:
        """Return the tags of the rows that the statement may change.

        Args:
            database: What `databases.tag_scope` calls the one it is sent to.
            params: Its parameters; a sequence of them where `many`.

        Returns:
            The `a:` of each table that it may write, and with it row tags where the statement names rows by
            primary key, else table tags, but neither for new rows; empty where it changes nothing that is tracked.
            Where a table has declared columns, the `c:` of new rows, or the table's tag where those are not known.
            Of tables that it changes without naming them, the `a:` and the table tag.
        """
        if not self.written:
            return self._changed_tags(database)
        if not many:
            known = self.row_tags(database, params)
            if known is not None:
                return known | self.table_tags(database) if self._is_divided else known
        written = frozenset(any_write_tag(database, table.name) for table in self.written)
        written |= self._changed_tags(database)
        if self._is_plain_insert:  # new rows: no read that found a row by its key depends on them
            return written | self._new_value_tags(database, None if many else params)
        return written | self.table_tags(database)

    def row_tags(self, database: str, params: object) -> frozenset[str] | None:
        """Return the tags of a statement whose WHERE names primary keys and nothing else, else None.

        None of them where it writes a table that is not tracked: the name of one that is stands in that table's
        name, or in a subquery.
        Of declared columns they say nothing: the rows' former values are not in the statement.
        """
        named = self._named
        if named is None:
            return None
        table = named.table
        if table is None:
            return self._changed_tags(database)
        count = named.keys
        if not isinstance(params, list | tuple):
            return None
        if count > MOST_ROW_TAGS or count > len(params):
            return None
        known = self._row_names.get(database)
        if known is None:
            always = self._changed_tags(database) | {any_write_tag(database, table.name)}
            known = self._row_names[database] = (row_prefix(database, table.name), always)
        prefix, always = known
        rows = []
        for value in params[len(params) - count :]:
            key = table.to_pk(value)
            if key is None:
                return None
            rows.append(prefix + key_text(key))
        return always.union(rows)

    def _changed_tags(self, database: str) -> frozenset[str]:
        kinds = (any_write_tag, table_tag)
        return frozenset(kind(database, name) for name in self.changed for kind in kinds)

    def table_tags(self, database: str) -> frozenset[str]:
        """Return the tags of all rows of the tables that it may write."""
        return frozenset(table_tag(database, table.name) for table in self.written)

    def _new_value_tags(self, database: str, params: object) -> frozenset[str]:
        """Return the `c:` of new rows, the table's own tag where not every value is known."""
        divided = [table for table in self.written if table.declared]
        if not divided:
            return frozenset()
        [table, *others] = divided
        values = None if others or self._insert is None else self._insert.values(table.declared, params)
        if values is None or plain_table_name(self._insert.table) != table.name:  # type: ignore[union-attr]
            return frozenset(table_tag(database, each.name) for each in divided)
        return value_tags(database, table.name, table.declared, values)


def value_tags(
    database: str, table: str, columns: Sequence[DeclaredColumn], values: Iterable[Sequence[object]]
) -> frozenset[str]:
    """Return the `c:` tags of values, one sequence for each column; the table's own where one names no rows."""
    tags = set()
    for column, found in zip(columns, values, strict=True):
        for value in found:
            key = None if value is None else column.to_key(value)
            if key is None and value is not None:
                return frozenset({table_tag(database, table)})
            tags.add(value_tag(database, table, column.name, key))
    return frozenset(tags)


def statement_of(sql: str, tracked: Mapping[str, TrackedTable]) -> Statement:
    """Return what is known of a statement; the same text is read once."""
    read_for, statements = _read
    known = statements.get(sql) if read_for is tracked else None
    return _read_anew(sql, tracked) if known is None else known


def _read_anew(sql: str, tracked: Mapping[str, TrackedTable]) -> Statement:
    global _read  # noqa: PLW0603  # replaced as a whole, for other threads use it meanwhile
    read_for, statements = _read
    if read_for is not tracked or len(statements) >= MOST_STATEMENTS:
        statements = {}
        _read = (tracked, statements)
    statement = Statement(sql, tracked)
    if len(sql) <= LONGEST_KEPT:
        statements[sql] = statement
    return statement


def _may_write_any(sql: str, lowered: str) -> bool:
    """Say whether a statement may write tables that it does not name, or not as they are named here."""
    if TRUNCATE_CASCADE.search(sql) or CHANGES_SCHEMAS.search(sql):
        return True
    return ESCAPED_NAME in lowered or executes_prepared(sql)


def _is_named(name: str, lowered: str) -> bool:
    """Say whether a table's name stands in a statement, and not only as a part of a longer name."""
    stem = name.removesuffix("*")
    start = lowered.find(stem)
    while start >= 0:
        end = start + len(stem)
        around = lowered[start - 1 : start] + (lowered[end : end + 1] if stem == name else "")
        if not any(character.isalnum() or character in "_$" for character in around):
            return True
        start = lowered.find(stem, start + 1)
    return False


def is_read(sql: str) -> bool:
    """Say whether the statement changes no row; `SELECT … FOR UPDATE` locks and changes none."""
    first = FIRST_WORD.match(sql)
    word = first[1].lower() if first else ""
    if word not in READS:
        return False
    if word == "create" and not HARMLESS_CREATE.match(sql):
        return False  # of a name that others had dropped, or that shows other rows from now on
    may_hold_a_write = word in {"with", "explain"} or ";" in sql.rstrip("; \n\t")
    return not (may_hold_a_write and WRITING_WORD.search(sql))
