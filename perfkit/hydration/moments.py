"""PostgreSQL's `timestamptz` as a `datetime`, several times faster than psycopg's loader in Python makes it.

Django has psycopg load moments with a class written in Python,
which takes as long as making the instance that the moment is part of.
"""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper


def load_moments_fast(connection: BaseDatabaseWrapper) -> None:
    """Have a connection load moments fast from now on, for everybody who reads with it.

    The values are those of Django's loader, which is asked for what Python's own parser does not take.
    Nothing is done on another database, or where somebody has put a loader of their own in place of Django's.
    A connection that is closed is opened, as the read that follows would do.
    """
    if connection.vendor != "postgresql":
        return
    # Only here is it certain that there is a driver.
    from perfkit.hydration.moment_loader import put_on

    if connection.connection is None:
        connection.ensure_connection()
    put_on(connection.connection)
