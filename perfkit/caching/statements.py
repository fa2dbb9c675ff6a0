"""Which cached rows a SQL statement may change, read from its text and parameters.

Pure. When in doubt it names the whole table: invalidating too much is only slow.
What a statement does not name (a trigger, a function's body, a view behind the table) cannot be seen here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from perfkit.caching.registry import TrackedModel
from perfkit.caching.tags import row_tag, table_tag

MOST_ROW_TAGS: Final = 500
"""A statement that names more rows than this is taken as a write to the whole table."""

READS: Final = frozenset(
    {
        *(
            "analyze",
            "begin",
            "close",
            "comment",
            "commit",
            "create",
            "deallocate",
            "declare",
            "discard",
            "end",
        ),
        *("explain", "fetch", "grant", "listen", "lock", "notify", "pragma", "reindex", "release", "reset"),
        *("revoke", "rollback", "savepoint", "select", "set", "show", "start", "table", "unlisten", "vacuum"),
        *("values", "with"),
    }
)
"""First words of statements that change no row of an existing table, unless a second one hides in them."""

FIRST_WORD: Final = re.compile(r"(?:\s|\(|--[^\n]*\n|/\*.*?\*/)*([a-z]+)", re.IGNORECASE | re.DOTALL)
WRITING_WORD: Final = re.compile(
    r"\b(?:insert|update|delete|merge|truncate|copy|into|alter|drop|replace|call|do|execute)\b", re.IGNORECASE
)
PLAIN_INSERT: Final = re.compile(r"\s*insert\s+into\b", re.IGNORECASE)
BEYOND_INSERT: Final = re.compile(r"\b(?:conflict|update|delete|merge|replace)\b", re.IGNORECASE)
BY_KEY: Final = re.compile(
    r"""(?P<verb>UPDATE|DELETE\ FROM)\ "(?P<table>[^"]+)"
        (?P<set>\ SET\ .*)?
        \ WHERE\ (?:"(?P=table)"\.)?"(?P<column>[^"]+)"\ (?:=\ %s|IN\ \((?P<marks>%s(?:,\ %s)*)\))
        (?:\ RETURNING\ .*)?""",
    re.VERBOSE | re.DOTALL,
)
"""The form in which Django writes rows it knows: `UPDATE "t" SET … WHERE "t"."id" = %s`."""


def written_tags(
    alias: str, sql: str, params: object, *, many: bool, tracked: Mapping[str, TrackedModel]
) -> frozenset[str]:
    """Return the tags of the rows that a statement may change.

    Args:
        alias: Of the database it is sent to.
        sql: With placeholders.
        params: Its parameters; a sequence of them where `many`.
        tracked: The tracked models by table, names in lower case.

    Returns:
        Row tags where the statement names rows by primary key, else table tags; empty where it changes none.
    """
    if not tracked:
        return frozenset()
    if is_read(sql):
        return frozenset()
    lowered = sql.lower()
    named = [model for table, model in tracked.items() if table in lowered]
    if not named:
        return frozenset()
    if len(named) == 1 and not many:
        known = _known_rows(alias, sql, params, named[0])
        if known is not None:
            return known
    if PLAIN_INSERT.match(sql) and not BEYOND_INSERT.search(sql) and ";" not in sql:
        return frozenset()  # new rows: no read that found a row by its key depends on them
    return frozenset(table_tag(alias, model.table) for model in named)


def is_read(sql: str) -> bool:
    """Say whether the statement changes no row; `SELECT … FOR UPDATE` locks and changes none."""
    first = FIRST_WORD.match(sql)
    word = first[1].lower() if first else ""
    if word not in READS:
        return False
    may_hold_a_write = word in {"with", "explain"} or ";" in sql.rstrip("; \n\t")
    return not (may_hold_a_write and WRITING_WORD.search(sql))


def _known_rows(alias: str, sql: str, params: object, model: TrackedModel) -> frozenset[str] | None:
    """Return the row tags where the WHERE names primary keys and nothing else, else None."""
    match = BY_KEY.fullmatch(sql)
    if (
        match is None
        or sql.count(" WHERE ") != 1
        or not isinstance(params, Sequence)
        or isinstance(params, str)
    ):
        return None
    if match["table"].lower() != model.table or match["column"] != model.pk_column:
        return None
    if (match["verb"] == "UPDATE") != (match["set"] is not None):
        return None
    count = match["marks"].count("%s") if match["marks"] else 1
    if count > MOST_ROW_TAGS or count > len(params):
        return None
    keys = [model.to_pk(value) for value in params[len(params) - count :]]
    if any(key is None for key in keys):
        return None
    return frozenset(row_tag(alias, model.table, key) for key in keys if key is not None)
