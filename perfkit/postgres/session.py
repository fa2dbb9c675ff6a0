"""Changes a session's settings for a while, and reads what kind of error a statement met."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper


@contextmanager
def session_settings(connection: BaseDatabaseWrapper, **settings: str) -> Iterator[None]:
    """Run the block with these settings of the session, and put the former values back, also after an error.

    A connection that died inside the block took its settings with it, so nothing is put back then.
    Behind a pooler in transaction mode settings are not the session's own: connect directly.

    Args:
        connection: In autocommit; PostgreSQL's own rollback would undo the settings of a failed transaction.
        settings: Values by name, as SET takes them: `lock_timeout="5s"`.

    Queries: 2 before the block, 1 after it.

    Example:
        >>> with session_settings(connection, lock_timeout="5s"):  # doctest: +SKIP
        ...     cursor.execute("CREATE INDEX CONCURRENTLY …")
    """
    names = list(settings)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(['current_setting(%s)'] * len(names))}", names)
        former = dict(zip(names, cursor.fetchone(), strict=True))
    _apply(connection, settings)
    try:
        yield
    finally:
        if is_alive(connection):
            _apply(connection, former)


def is_alive(connection: BaseDatabaseWrapper) -> bool:
    """Return whether the server side of this connection was there at its last answer; costs no query."""
    return connection.connection is not None and not connection.connection.closed


def sqlstate(error: Error) -> str | None:
    """Return the five-character SQLSTATE of the driver's error under Django's, or None.

    Source:
        PostgreSQL manual, appendix "PostgreSQL Error Codes".
    """
    cause = error.__cause__
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)


def _apply(connection: BaseDatabaseWrapper, settings: dict[str, str]) -> None:
    # By name, for whoever reads the statement must see that it is no search path, for example.
    calls = ", ".join(f"set_config('{name}', %s, false)" for name in settings if name.isidentifier())
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {calls}", list(settings.values()))
