"""How busy a process's pool of connections is, and who stands between it and PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper


@dataclass(frozen=True, slots=True)
class PoolFigures:
    """How a pool of this process stands; the counts are since it was opened.

    Attributes:
        most: Connections that it may have.
        size: Those that it has, or is opening.
        available: Those that nobody uses at this moment.
        waiting: Requests that wait for one at this moment.
        requests: How often a connection was asked for.
        queued: How often somebody had to wait for one.
        waited_seconds: How long, all together.
        timeouts: How often somebody waited in vain.
        lost: Connections that were found dead when they were to be used.
        connected: How often a connection was opened.
    """

    most: int
    size: int
    available: int
    waiting: int
    requests: int
    queued: int
    waited_seconds: float
    timeouts: int
    lost: int
    connected: int

    @property
    def in_use(self) -> int:
        """Connections that somebody uses at this moment."""
        return self.size - self.available

    @property
    def share_in_use(self) -> float:
        """What part of all that it may have is in use, 0 to 1."""
        return self.in_use / self.most


def pool_figures(alias: str = DEFAULT_DB_ALIAS) -> PoolFigures | None:
    """Return how the pool of this process stands; None where the database has none.

    Each process has a pool of its own. It is opened by the first query, and has nothing before that.

    Queries:
        None.

    Source:
        psycopg_pool manual, "Pool stats".
    """
    pool = getattr(connections[alias], "pool", None)
    if pool is None:
        return None
    told = {} if pool.closed else pool.get_stats()
    return PoolFigures(
        most=pool.max_size,
        size=told.get("pool_size", 0),
        available=told.get("pool_available", 0),
        waiting=told.get("requests_waiting", 0),
        requests=told.get("requests_num", 0),
        queued=told.get("requests_queued", 0),
        waited_seconds=told.get("requests_wait_ms", 0) / 1000,
        timeouts=told.get("requests_errors", 0),
        lost=told.get("returns_bad", 0) + told.get("connections_lost", 0),
        connected=told.get("connections_num", 0),
    )


def goes_through_pooler(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether something such as PgBouncer stands between this connection and PostgreSQL, in whatever mode.

    A pooler gives its clients process numbers of its own to cancel by, not that of a session.

    Queries: 1.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
        return bool(pid != cursor.connection.info.backend_pid)
