"""Writes of rows by primary key, whose declared columns are found out on the way.

# Note [The former value]
A row that is saved may leave a list as well as enter one, and which list it was in only the database knows:
another process may have moved the row since the instance was loaded.
So the statement itself, in its transaction, tells the values from before and after it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.caching.databases import entry_scope
from perfkit.caching.named_rows import WriteByKey
from perfkit.postgres.capabilities import Capabilities

Values = list[list[Any]]
"""One list for each declared column."""

ASKED_AGAIN_AFTER_SECONDS: Final = 60.0
"""Another process may have changed the table, or who may read it."""

QUESTION: Final = """
SELECT count(*) FILTER (WHERE has_column_privilege(c.oid, a.attnum, 'SELECT')) = %s
       AND NOT EXISTS (SELECT FROM pg_rewrite r WHERE r.ev_class = c.oid AND r.is_instead),
       NOT EXISTS (
           SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgtype & 7 = 7
       )
FROM pg_class c LEFT JOIN pg_attribute a
    ON a.attrelid = c.oid AND a.attname = ANY(%s) AND NOT a.attisdropped
WHERE c.oid = to_regclass(%s) AND c.relkind IN ('r', 'p')
GROUP BY c.oid
"""
"""Whether a RETURNING of these columns works, and whether no trigger (7: BEFORE INSERT, each row) changes rows."""


class Facts(NamedTuple):
    """What a table with declared columns can tell of them.

    Args:
        tells: Whether a write of rows by their keys may be made to return them.
        keeps: Whether new rows have the values that their INSERT gives.
        until: When it is asked again, on the monotonic clock.
    """

    tells: bool
    keeps: bool
    until: float


_known: Final[dict[tuple[str, str], Facts]] = {}
"""By database (another user may have other privileges) and table."""


def facts_of(connection: BaseDatabaseWrapper, table: str, columns: Sequence[str]) -> Facts:
    """Return what the table can tell: nothing before the migration that adds the columns, for example.

    Args:
        table: With quotes.

    Queries:
        One a minute for each table that is written, past Django's cursor.
    """
    place = (entry_scope(connection), table)
    known = _known.get(place)
    now = time.monotonic()
    if known is None or known.until <= now:
        names = list(columns)
        found = _fetched(connection, QUESTION, [len(names), names, table])
        tells, keeps = found[0] if found else (False, False)
        known = _known[place] = Facts(tells, keeps, now + ASKED_AGAIN_AFTER_SECONDS)
    return known


def forget_columns() -> None:
    """Ask each table anew, for one may have been changed."""
    _known.clear()


def observed(
    connection: BaseDatabaseWrapper,
    write: WriteByKey,
    execute: Callable[[str], Any],
    *,
    params: Sequence[Any],
    cursor: Any,
) -> tuple[Any, Values]:
    """Run a statement inside a transaction; return what `execute` returned, and the values before and after it.

    Args:
        execute: Runs another text of the statement on `cursor`, with the same parameters.

    Queries:
        The statement's own; an UPDATE before PostgreSQL 18 needs one more, which takes the locks it takes itself.
    """
    names = [f'"{column.name}"' for column in write.columns]
    listed = ", ".join(names)
    former: list[Sequence[Any]] = []
    if not write.is_update:
        returning = listed
    elif Capabilities(connection.pg_version).has_returning_old:  # type: ignore[attr-defined]  # PostgreSQL's
        both = ", ".join(f"{row}.{name}" for row in ("perfkit_old", "perfkit_new") for name in names)
        returning = f"WITH (OLD AS perfkit_old, NEW AS perfkit_new) {both}"
    else:
        locked = f"SELECT {listed} FROM {write.table}{write.where} FOR NO KEY UPDATE"  # noqa: S608  # of our own registry
        former = _fetched(connection, locked, params[len(params) - write.keys :])
        returning = listed
    answer = execute(f" RETURNING {returning}")
    with connection.wrap_database_errors:
        rows = cursor.fetchall()
    width = len(names)
    parts = [row[start : start + width] for row in chain(former, rows) for start in range(0, len(row), width)]
    return answer, [list(values) for values in zip(*parts, strict=True)] or [[] for _ in names]


def _fetched(connection: BaseDatabaseWrapper, sql: str, params: Sequence[Any]) -> list[Any]:
    with connection.wrap_database_errors, connection.connection.cursor() as cursor:
        return list(cursor.execute(sql, params).fetchall())
