"""Logs the queries that take long: `SLOW QUERY`, on the logger `perfkit.queries`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import perf_counter
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.conf import options
from perfkit.signals import query_timed
from perfkit.watching import as_text, calling_line, normalised, unwatch_connections, watch_connections

logger = logging.getLogger("perfkit.queries")

NAME: Final = "perfkit.slow_queries"


def install() -> None:
    """Watch every connection of this process: those that are open, and each as it is opened.

    Called once more, it does nothing.

    Queries: none.
    """
    watch_connections(log_if_slow, name=NAME)
    query_timed.connect(_log_if_slow, dispatch_uid=NAME)


def uninstall() -> None:
    """Watch no connection of this thread any more, nor any that is opened from now on."""
    unwatch_connections(log_if_slow, name=NAME)
    query_timed.disconnect(dispatch_uid=NAME)


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
            _log(seconds, connection.alias, _shown(sql, connection))


def _log_if_slow(*, using: str, sql: str, seconds: float, **_: object) -> None:
    """Do the same for a statement that went past Django's connections; receiver of `query_timed`."""
    if seconds >= options.QUERY_SLOW_THRESHOLD:
        _log(seconds, using, normalised(sql))


def _log(seconds: float, alias: str, sql: str) -> None:
    logger.warning("SLOW QUERY %.1f ms %s %s %s", seconds * 1000, alias, calling_line(), sql)


def _shown(sql: Any, connection: BaseDatabaseWrapper) -> str:
    """Return the statement for the log; of one that the driver cannot write as text, only why."""
    try:
        return normalised(as_text(sql, connection))
    except ValueError as error:
        return str(error)
