"""Logs the queries that take long: `SLOW QUERY`, on the logger `perfkit.queries`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import perf_counter
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from perfkit.conf import options
from perfkit.monitoring.callers import calling_line
from perfkit.monitoring.sql import normalised

logger = logging.getLogger("perfkit.queries")


def install() -> None:
    """Watch every connection of this process: those that are open, and each as it is opened.

    Called once more, it does nothing.

    Queries: none.
    """
    connection_created.connect(_watch_new, dispatch_uid="perfkit.slow_queries")
    for connection in connections.all(initialized_only=True):
        watch(connection)


def uninstall() -> None:
    """Watch no connection of this thread any more, nor any that is opened from now on."""
    connection_created.disconnect(dispatch_uid="perfkit.slow_queries")
    for connection in connections.all(initialized_only=True):
        if log_if_slow in connection.execute_wrappers:
            connection.execute_wrappers.remove(log_if_slow)


def watch(connection: BaseDatabaseWrapper) -> None:
    """Put the wrapper onto one connection, once.

    It goes to the front of the list: `connection.execute_wrapper()` pops the last one at its end,
    which must not be this one.
    """
    if log_if_slow not in connection.execute_wrappers:
        connection.execute_wrappers.insert(0, log_if_slow)


def log_if_slow(
    execute: Callable[..., Any],
    sql: Any,
    params: Any,
    many: bool,
    context: dict[str, Any],
) -> Any:
    """Run the query, and log it where it took at least `QUERY_SLOW_THRESHOLD`, also when it failed.

    The line has the milliseconds, the alias of the database, the calling line and the SQL without any value.
    On SQLite the time is that of the first row; the others are read as they are fetched.
    The line never changes what the query does: what cannot be told in it is left out of it.

    Raises:
        SettingsError: `QUERY_SLOW_THRESHOLD` is wrong; the query has not run.
    """
    threshold_seconds = options.QUERY_SLOW_THRESHOLD
    begun = perf_counter()
    try:
        return execute(sql, params, many, context)
    finally:
        seconds = perf_counter() - begun
        if seconds >= threshold_seconds:
            connection = context["connection"]
            logger.warning(
                "SLOW QUERY %.1f ms %s %s %s",
                seconds * 1000,
                connection.alias,
                calling_line(),
                _shown(sql, connection),
            )


def _watch_new(connection: BaseDatabaseWrapper, **_: Any) -> None:
    watch(connection)


def _shown(sql: Any, connection: BaseDatabaseWrapper) -> str:
    """Return the statement for the log; of one that the driver cannot write as text, only why."""
    try:
        text = _text(sql)
    except (connection.Database.Error, ArithmeticError, AttributeError, TypeError, ValueError) as error:  # type: ignore[attr-defined]  # missing in the stubs
        return f"({type(sql).__name__} without a text: {type(error).__name__})"
    return normalised(text)


def _text(sql: Any) -> str:
    """Return the statement as text; psycopg also takes composed statements and bytes."""
    if isinstance(sql, bytes):
        return sql.decode(errors="replace")
    return str(sql.as_string(None)) if hasattr(sql, "as_string") else str(sql)
