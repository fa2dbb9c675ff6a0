"""Writes of rows by primary key, whose declared columns are found out on the way.

# Note [The former value]
A row that is saved may leave a list as well as enter one, and which list it was in only the database knows:
another process may have moved the row since the instance was loaded.
So the statement itself, in its transaction, tells the values from before and after it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.caching.statements import WriteByKey
from perfkit.postgres.capabilities import Capabilities

Values = list[list[Any]]
"""One list for each declared column."""

_known: Final[set[tuple[str, str, str]]] = set()
"""Databases and tables whose declared columns are there."""


def is_observable(connection: BaseDatabaseWrapper, write: WriteByKey) -> bool:
    """Say whether the database can tell, and has the declared columns: before its migration it has not.

    Queries:
        One in the life of the process for each table, past Django's cursor.
    """
    if connection.vendor != "postgresql":
        return False
    place = (connection.alias, str(connection.settings_dict["NAME"]), write.table)
    if place not in _known:
        connection.ensure_connection()
        names = [column.name for column in write.columns]
        sql = (
            "SELECT count(*) FROM pg_attribute"
            " WHERE attrelid = to_regclass(%s) AND attname = ANY(%s) AND NOT attisdropped"
        )
        if _fetched(connection, sql, [write.table, names]) != [(len(names),)]:
            return False
        _known.add(place)
    return True


def forget_columns() -> None:
    """Look anew which columns there are, for one may have been dropped."""
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
