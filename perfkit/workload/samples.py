"""Writes a statement with its values as literals, as it could be typed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

MOST_VALUES: Final = 500
LONGEST_VALUE: Final = 2_000
"""Characters of a text, or bytes; a value that is longer makes no sample."""

LONGEST_SAMPLE: Final = 10_000
"""Characters of a whole statement."""


def sample_of(connection: Any, sql: str, params: Any) -> str:
    """Return the statement with its values in it, or an empty text where it has none that is kept.

    There is none on other databases than PostgreSQL and SQLite, and of values that are too many or too long.

    Args:
        connection: Open; nothing is sent on PostgreSQL.
        params: As the statement was sent with them: None, a sequence or a mapping.

    Queries:
        None of Django's; on SQLite one past it, which quotes the values.
    """
    if len(sql) > LONGEST_SAMPLE or not _are_short(params) or connection.connection is None:
        return ""
    try:
        if connection.vendor == "postgresql":
            text = _of_postgresql(connection.connection, sql, params)
        elif connection.vendor == "sqlite":
            text = _of_sqlite(connection, sql, params)
        else:
            return ""
    except (connection.Database.Error, ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return ""  # what the driver cannot write as text, which is told nowhere: the error may have a value in it
    return text if len(text) <= LONGEST_SAMPLE and _is_plain(text) else ""


def _of_postgresql(driver: Any, sql: str, params: Any) -> str:
    from django.db.backends.postgresql.psycopg_any import is_psycopg3

    if is_psycopg3:
        from psycopg import ClientCursor

        return str(ClientCursor(driver).mogrify(sql, params))
    with driver.cursor() as cursor:
        return str(cursor.mogrify(sql, params).decode())


def _of_sqlite(connection: Any, sql: str, params: Any) -> str:
    if params is not None and not params:
        return str(sql % ())
    return str(connection.ops.last_executed_query(None, sql, params))


def _are_short(params: Any) -> bool:
    if params is None:
        return True
    if isinstance(params, Mapping):
        params = list(params.values())
    if not isinstance(params, Sequence) or len(params) > MOST_VALUES:
        return False
    return all(_is_short(value) for value in params)


def _is_short(value: object) -> bool:
    if isinstance(value, str | bytes | bytearray | memoryview):
        return len(value) <= LONGEST_VALUE
    if isinstance(value, list | tuple | set | frozenset):
        return len(value) <= MOST_VALUES and all(_is_short(each) for each in value)
    return True


def _is_plain(text: str) -> bool:
    """Say whether a database can keep it: no NUL, and nothing that is no character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text
