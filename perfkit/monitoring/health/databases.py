"""Checks of the databases: whether each answers, whether migrations wait, and whether its outbox is emptied.

Each goes through the pool as requests do, but never waits for a place in it: where all of its connections are in
use, it connects beside it. So a busy pool is told apart from a dead server, and nobody has to wait for a probe.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from django.db import connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.db.models.functions import Coalesce, Now

from perfkit.conf import options
from perfkit.models import PendingInvalidation
from perfkit.monitoring.health.registry import health_check
from perfkit.monitoring.health.results import Finding, degraded, failed
from perfkit.postgres.pools import pool_figures

NO_DATABASE: Final = "django.db.backends.dummy"
LEAST_CONNECT_SECONDS: Final = 2
"""libpq makes this of anything shorter."""

MOST_NAMED: Final = 3

_migrated: Final[set[tuple[str, ...]]] = set()
"""Databases in which no migration waits; as the code does not change while it runs, none ever will."""


def aliases() -> list[str]:
    """Return those of the databases that are checked."""
    return list(options.HEALTH_DATABASES) or [
        alias for alias in connections if connections.settings[alias]["ENGINE"] != NO_DATABASE
    ]


def with_outbox() -> list[str]:
    """Return those of the databases that have an outbox."""
    return [
        alias
        for alias in aliases()
        if connections[alias].vendor in {"postgresql", "sqlite"}
        and router.allow_migrate_model(alias, PendingInvalidation)
    ]


def late() -> Any:
    """Return the moment before which what still waits is overdue, by the database's clock."""
    return Now() - dt.timedelta(seconds=options.HEALTH_OVERDUE_AFTER)


@contextmanager
def lent(alias: str) -> Iterator[BaseDatabaseWrapper]:
    """Let this thread use a database within the block, without waiting for others of the process."""
    given = connections[alias]
    if not _is_pool_in_use(alias):
        yield given
        return
    own = given.copy()
    given_options = own.settings_dict["OPTIONS"]
    given_options.pop("pool")
    given_options["connect_timeout"] = max(LEAST_CONNECT_SECONDS, math.ceil(options.HEALTH_TIMEOUT))
    connections[alias] = own
    try:
        yield own
    finally:
        own.close()
        connections[alias] = given


@contextmanager
def hasty(alias: str) -> Iterator[BaseDatabaseWrapper]:
    """Do the same, and let no statement in the block go on when nobody waits for its answer any more."""
    with lent(alias) as connection:
        if connection.vendor != "postgresql":
            yield connection
            return
        with transaction.atomic(using=alias):
            with connection.cursor() as cursor:
                milliseconds = str(math.ceil(options.HEALTH_TIMEOUT * 1000))
                cursor.execute("SELECT set_config('statement_timeout', %s, true)", [milliseconds])
            yield connection


@health_check("database", parts=aliases)
def check_database(alias: str) -> Finding | None:
    """Ask a database for something that costs nothing."""
    usual = connections[alias]
    with lent(alias) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.fetchall()
    if connection is not usual:
        return degraded("it answers, and all connections of this process's pool are in use")
    return None


@health_check("migrations", parts=aliases)
def check_migrations(alias: str) -> Finding | None:
    """Look whether migrations wait, until once none does."""
    settings = connections[alias].settings_dict
    key = (alias, *(str(settings[name]) for name in ("NAME", "HOST", "PORT")))
    if key in _migrated:
        return None
    with lent(alias) as connection:
        executor = MigrationExecutor(connection)
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    waiting = [
        f"{migration.app_label}.{migration.name}"
        for migration, _ in plan
        if router.allow_migrate(alias, migration.app_label)
    ]
    if waiting:
        return failed(f"{len(waiting)} wait: {_some(waiting)}")
    _migrated.add(key)
    return None


@health_check("outbox", parts=with_outbox)
def check_outbox(alias: str) -> Finding | None:
    """Look how long the oldest notice has waited to be told to the cache server, since it held no longer."""
    with hasty(alias):
        rows = PendingInvalidation._base_manager.using(alias)
        oldest = (
            rows.annotate(since=Coalesce("holds_until", "created_at"), now=Now())
            .filter(since__lt=late())
            .order_by("pk")
            .first()
        )
    if oldest is None:
        return None
    seconds = (oldest.now - oldest.since).total_seconds()
    return failed(f"the oldest notice waits for {seconds:,.0f} s: is anybody there who reads, or drains it?")


def _is_pool_in_use(alias: str) -> bool:
    """Say whether a connection of the pool would have to be waited for."""
    if connections[alias].vendor != "postgresql":
        return False
    figures = pool_figures(alias)
    return figures is not None and not figures.available and figures.size >= figures.most


def _some(names: list[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f", and {more} more" if more > 0 else "")
