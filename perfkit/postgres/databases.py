"""An entry of Django's DATABASES for PostgreSQL: its pool, and what is safe on its connections.

Nothing here needs Django to be set up, for settings.py calls it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple, get_args
from urllib.parse import parse_qsl, unquote, urlsplit

from perfkit.errors import UsageError, nearest
from perfkit.postgres.prepared import PREPARE_WHEN_ASKED

Mode = Literal["development", "production", "pgbouncer"]

SCHEMES: Final = ("postgres", "postgresql", "pgsql")
ENGINE: Final = "django.db.backends.postgresql"
CONNECT_SECONDS: Final = 5
WAIT_SECONDS: Final = 10.0
RECYCLE_SECONDS: Final = 3600.0


class Sizes(NamedTuple):
    """How many connections a process keeps, and how many more it may open under load."""

    size: int
    overflow: int


SIZES: Final[Mapping[str, Sizes]] = {
    "development": Sizes(2, 8),
    "production": Sizes(20, 30),
    "pgbouncer": Sizes(20, 30),
}


def pool_options(
    size: int = SIZES["production"].size,
    overflow: int = SIZES["production"].overflow,
    *,
    recycle_seconds: float = RECYCLE_SECONDS,
    wait_seconds: float = WAIT_SECONDS,
) -> dict[str, Any]:
    """Return what stands in `OPTIONS["pool"]`: Django hands it to psycopg's ConnectionPool.

    That pool has no overflow: it opens one connection at first, `size + overflow` at most, and closes those that
    nobody has needed for ten minutes. Each is replaced after `recycle_seconds`, give or take a twentieth.
    Connecting is tried again less and less often; after `wait_seconds` it begins anew with the next request, so a
    server that was away for long is not kept waiting for.
    Whether one is checked before it is used, says Django's `CONN_HEALTH_CHECKS`.

    Args:
        size: Connections that a process needs as a rule, at least 1.
        overflow: Connections beyond these.
        recycle_seconds: How long one lives.
        wait_seconds: How long a request waits for a free one before it fails with Django's OperationalError.

    Raises:
        UsageError: A number is too small.

    Source:
        psycopg_pool manual, "ConnectionPool".

    Example:
        >>> pool_options(2, 8)
        {'min_size': 1, 'max_size': 10, 'max_lifetime': 3600.0, 'timeout': 10.0, 'reconnect_timeout': 10.0}
    """
    if size < 1 or overflow < 0 or recycle_seconds <= 0 or wait_seconds <= 0:
        raise UsageError("A pool has at least 1 connection, no negative overflow, and times above 0.")
    return {
        "min_size": 1,
        "max_size": size + overflow,
        "max_lifetime": float(recycle_seconds),
        "timeout": float(wait_seconds),
        "reconnect_timeout": float(wait_seconds),
    }


def database_settings(
    database: str | Mapping[str, Any],
    *,
    mode: Mode = "production",
    pool_size: int | None = None,
    pool_overflow: int | None = None,
    recycle_seconds: float = RECYCLE_SECONDS,
    wait_seconds: float = WAIT_SECONDS,
    application_name: str = "",
) -> dict[str, Any]:
    """Return an entry of DATABASES for PostgreSQL, with a pool whose connections are checked before use.

    In `"development"` a process has 2 connections and 10 at most, in `"production"` 20 and 50 at most; statements
    are prepared where code asks for it. `"pgbouncer"` is as production, to a pooler in transaction mode: there
    each transaction may get another session of PostgreSQL, which knows nothing of statements that were prepared in
    the last one, nor of its cursors, so neither are used.
    Sessions are in UTC, as Django has it with `USE_TZ`. Connecting is given up after 5 seconds.

    Args:
        database: `postgres://user:password@host:port/name`, with OPTIONS as its query; or an entry of DATABASES.
            What it says itself wins.
        mode: Where the settings are for.
        pool_size: Connections that a process needs as a rule; 0 for no pool.
        pool_overflow: Connections beyond these.
        recycle_seconds: How long a connection lives.
        wait_seconds: How long a request waits for one before it fails, also while the server is away.
        application_name: What `pg_stat_activity` shows.

    Raises:
        UsageError: The URL is no PostgreSQL's, there is no such mode, or a number is too small.

    Example:
        >>> entry = database_settings("postgres://ann@db:5432/shop", mode="pgbouncer", application_name="shop")
        >>> entry["NAME"], entry["DISABLE_SERVER_SIDE_CURSORS"], entry["OPTIONS"]["prepare_threshold"]
        ('shop', True, None)
    """
    if mode not in SIZES:
        raise UsageError(f"mode={mode!r} is not known.{nearest(str(mode), get_args(Mode))}")
    given = _from_url(database) if isinstance(database, str) else dict(database)
    usual = SIZES[mode]
    size = usual.size if pool_size is None else pool_size
    overflow = usual.overflow if pool_overflow is None else pool_overflow
    is_direct = mode != "pgbouncer"
    options: dict[str, Any] = {
        "connect_timeout": CONNECT_SECONDS,
        "prepare_threshold": PREPARE_WHEN_ASKED if is_direct else None,
    }
    if application_name:
        options["application_name"] = application_name
    if size:
        options["pool"] = pool_options(
            size, overflow, recycle_seconds=recycle_seconds, wait_seconds=wait_seconds
        )
    return {
        "ENGINE": ENGINE,
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": True,
        "DISABLE_SERVER_SIDE_CURSORS": not is_direct,
        **given,
        "OPTIONS": {**options, **given.get("OPTIONS", {})},
    }


def _from_url(url: str) -> dict[str, Any]:
    """Return the entry that a URL says; the text of its errors has no password."""
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise UsageError(f"The URL of the database begins with postgres://, not with {parts.scheme}://.")
    entry: dict[str, Any] = {
        "NAME": unquote(parts.path.removeprefix("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(parts.hostname or ""),
        "PORT": str(parts.port or ""),
    }
    options = dict(parse_qsl(parts.query))
    return {**entry, "OPTIONS": options} if options else entry
