"""What in an entry of DATABASES, or between it and the server, does not go together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.postgres.pools import goes_through_pooler
from perfkit.postgres.prepared import is_behind_pooler


class Danger(NamedTuple):
    """A finding: the number of the check, what is wrong, and what to do."""

    number: str
    text: str
    hint: str


def dangers_in(entry: Mapping[str, Any]) -> Iterator[Danger]:
    """Yield what does not go together in the settings of one PostgreSQL database; nothing is connected to."""
    options = entry.get("OPTIONS") or {}
    if options.get("pool") and entry.get("CONN_MAX_AGE", 0) != 0:
        yield Danger(
            "E501",
            "has a pool and CONN_MAX_AGE, so its first connection is an error",
            "Leave CONN_MAX_AGE at 0: the pool keeps the connections.",
        )
    if options.get("pool") and not entry.get("CONN_HEALTH_CHECKS"):
        yield Danger(
            "W501",
            "has a pool whose connections are not checked before they are used",
            "Set CONN_HEALTH_CHECKS to True, else a restart of the server fails one request for each of them.",
        )
    if is_behind_pooler(entry) and options.get("prepare_threshold") is not None:
        yield Danger(
            "W502",
            "declares a pooler in transaction mode, by DISABLE_SERVER_SIDE_CURSORS, and prepares statements",
            "Take prepare_threshold out of OPTIONS: the next transaction's session may not know them.",
        )


def dangers_of(connection: BaseDatabaseWrapper) -> Iterator[Danger]:
    """Yield what does not go together between the settings and the server that they lead to.

    Queries: 1 or 2.
    """
    settings = connection.settings_dict
    options = settings.get("OPTIONS") or {}
    if goes_through_pooler(connection):
        unsafe = []
        if not is_behind_pooler(settings):
            unsafe.append("server-side cursors")
        if options.get("prepare_threshold") is not None:
            unsafe.append("prepared statements")
        if unsafe:
            yield Danger(
                "W503",
                f"leads to a pooler, and uses {' and '.join(unsafe)}",
                "In transaction mode that fails now and then: take database_settings(…, mode='pgbouncer'). "
                "In session mode it is fine, and this check can be silenced.",
            )
    pool = options.get("pool")
    if isinstance(pool, Mapping) and not is_behind_pooler(settings):
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT current_setting('max_connections')::int"
                " - current_setting('superuser_reserved_connections')::int"
            )
            (allowed,) = cursor.fetchone()
        most = pool.get("max_size") or pool.get("min_size", 4)
        if most > allowed:
            yield Danger(
                "W504",
                f"has a pool of {most} connections in each process, and the server takes {allowed} in all",
                "Make the pool smaller, the server's max_connections larger, or put PgBouncer in between.",
            )
