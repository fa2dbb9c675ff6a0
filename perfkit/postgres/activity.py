"""The connections that PostgreSQL has, of all processes and programs."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.backends.base.base import BaseDatabaseWrapper

SESSIONS_SQL = """
    SELECT coalesce(nullif(application_name, ''), '-') AS application,
           count(*),
           count(*) FILTER (WHERE state = 'active'),
           count(*) FILTER (WHERE state LIKE 'idle in transaction%'),
           count(*) FILTER (WHERE wait_event_type = 'Lock'),
           coalesce(extract(epoch FROM max(clock_timestamp() - xact_start)), 0)::float8
      FROM pg_stat_activity
     WHERE backend_type = 'client backend' AND datname = current_database() AND pid <> pg_backend_pid()
     GROUP BY application
     ORDER BY count(*) DESC, application
"""
LIMITS_SQL = """
    SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
           (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')
"""


@dataclass(frozen=True, slots=True)
class Sessions:
    """The sessions of one program in this database, as its `application_name` tells them apart.

    Attributes:
        active: Those that run a statement.
        idle_in_transaction: Those that hold a transaction open and run nothing.
        waiting: Those that wait for a lock.
        longest_transaction_seconds: The age of the oldest transaction.
    """

    application: str
    count: int
    active: int
    idle_in_transaction: int
    waiting: int
    longest_transaction_seconds: float


@dataclass(frozen=True, slots=True)
class ServerConnections:
    """What a server has of connections.

    Attributes:
        most: Those that it takes from ordinary roles.
        count: Those to all of its databases, that of the question included.
        sessions: Those to this database, that of the question not included.
    """

    most: int
    count: int
    sessions: list[Sessions]


def server_connections(connection: BaseDatabaseWrapper) -> ServerConnections:
    """Return the connections that the server has, of all processes.

    Queries: 2, to the views of statistics.
    """
    with connection.cursor() as cursor:
        cursor.execute(LIMITS_SQL)
        most, count = cursor.fetchone()
        cursor.execute(SESSIONS_SQL)
        return ServerConnections(most, count, [Sessions(*row) for row in cursor.fetchall()])
