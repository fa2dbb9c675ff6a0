"""Triggers that tell the readers of the cache what is written outside Django: see `manage.py perfkit_triggers`.

They put what a statement has written into the outbox, in the transaction of whoever writes it, so that every
process finds it at its next look.

# Note [Writes that are told twice]
Django's own writes fire the triggers too, and are told by MARK and DONE already.
A trigger cannot know that: it runs with the statement, and MARK comes with COMMIT.
Whatever would keep it quiet then (a setting of the session or of the transaction, a comment in the statement)
is a promise of a writer that may end its transaction in a way that perfkit does not see.
So it is told twice: a second later at most, what depends on the rows is read once more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from django.db import DEFAULT_DB_ALIAS, connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from perfkit.caching.coherence import outbox
from perfkit.caching.registry import tracked_tables, watched_models
from perfkit.caching.store import StoreError, current_store
from perfkit.errors import CacheUnavailableError, TriggersUnsupportedError

if TYPE_CHECKING:
    from perfkit.caching.triggers.changes import Change
    from perfkit.caching.triggers.states import TableState, Waiting


def install_triggers(
    models: Iterable[type[Model]], *, using: str = DEFAULT_DB_ALIAS, lock_timeout_seconds: float = 2.0
) -> Iterator[Change]:
    """See `changes.install`; lazy, a table is done when its change is yielded.

    Raises:
        TriggersUnsupportedError: Also where the database is not PostgreSQL.
    """
    connection = _postgres(using)
    from perfkit.caching.triggers.changes import install  # who has no PostgreSQL need not have psycopg

    return install(connection, models, lock_timeout_seconds=lock_timeout_seconds)


def remove_triggers(
    models: Iterable[type[Model]] | None = None,
    *,
    using: str = DEFAULT_DB_ALIAS,
    lock_timeout_seconds: float = 2.0,
) -> Iterator[Change]:
    """See `changes.remove`; lazy, a table is done when its change is yielded.

    Raises:
        TriggersUnsupportedError: The database is not PostgreSQL.
    """
    connection = _postgres(using)
    from perfkit.caching.triggers.changes import remove  # as above

    return remove(connection, models, lock_timeout_seconds=lock_timeout_seconds)


def trigger_states(models: Iterable[type[Model]], *, using: str = DEFAULT_DB_ALIAS) -> list[TableState]:
    """Return the state of the triggers of each table that holds rows of `models`.

    Raises:
        TriggersUnsupportedError: The database is not PostgreSQL.
    """
    connection = _postgres(using)
    from perfkit.caching.triggers.states import states_of  # as above

    return states_of(connection, models)


def models_in(alias: str) -> list[type[Model]]:
    """Return the models whose tables are watched and that may be in a database, by their labels."""
    tracked_tables()  # decides what is cached
    models = [model for model in watched_models() if router.allow_migrate_model(alias, model)]
    return sorted(models, key=lambda model: model._meta.label)


def faulty_tables(*, using: str = DEFAULT_DB_ALIAS) -> list[TableState]:
    """Return the tables that have triggers which are not as they should be; none on other than PostgreSQL.

    Queries:
        One where the database has no triggers of perfkit's.
    """
    connection = connections[using]
    if connection.vendor != "postgresql":
        return []
    from perfkit.caching.triggers.states import installed_in, states_of  # as above

    if not installed_in(connection):
        return []
    return [
        state
        for state in states_of(connection, models_in(using))
        if state.has_triggers and not state.is_installed
    ]


def waiting(*, using: str = DEFAULT_DB_ALIAS) -> Waiting | None:
    """Return how much waits in the outbox for a reader to look, None where there is no outbox."""
    connection = _postgres(using)
    from perfkit.caching.triggers.states import outbox_of, waiting_in  # as above

    return None if outbox_of(connection) is None else waiting_in(connection)


def drain(*, using: str = DEFAULT_DB_ALIAS) -> int:
    """Tell the cache server what waits in the outbox, and return how much that was.

    Cached reads do so by themselves; call it from a schedule where no process reads for long.

    Raises:
        TriggersUnsupportedError: There is no outbox, or no cache server to tell.
        CacheUnavailableError: The cache server does not answer; what it has not heard goes on waiting.
    """
    connection = connections[using]
    store = current_store()
    if store is None or not store.is_shared:
        raise TriggersUnsupportedError(
            "This process", "caches nothing, or inside itself: there is nobody to tell."
        )
    before = waiting(using=using)
    if before is None:
        raise TriggersUnsupportedError(f"The database {using!r}", "has no outbox: run `manage.py migrate`.")
    try:
        outbox.tell(connection, store)
    except StoreError as error:
        raise CacheUnavailableError(str(error)) from error
    return before.rows


def _postgres(alias: str) -> BaseDatabaseWrapper:
    connection = connections[alias]
    if connection.vendor != "postgresql":
        raise TriggersUnsupportedError(
            f"The database {alias!r}",
            "is not PostgreSQL. SQLite's triggers run for each row, cannot name the database as readers do, "
            "and stores inside a process do not look into the outbox.",
        )
    return connection
