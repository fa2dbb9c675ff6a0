"""Which tracked names are no tables in a database, so that what is read under them is written under others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from django.apps import apps
from django.db import router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from perfkit.caching.registry import (
    TrackedTable,
    owners,
    plain_table_name,
    table_name,
    tracked_tables,
    watched_models,
)
from perfkit.caching.sources import is_named_for, is_watched_for
from perfkit.caching.tags import any_write_tag, table_of
from perfkit.postgres.catalogue import odd_relations

Tables = Mapping[str, TrackedTable]

POSTGRES_SQL: Final = """
SELECT name, CASE c.relkind WHEN 'v' THEN 'view' ELSE 'foreign table' END
FROM unnest(%s::text[]) AS name JOIN pg_class c ON c.oid = to_regclass(name)
WHERE c.relkind IN ('v', 'f')
"""
SQLITE_SQL: Final = "SELECT name, type FROM sqlite_master WHERE type = 'view'"

_known: Final[dict[tuple[str, str], tuple[Tables, Mapping[str, str]]]] = {}
"""By alias and name of the database: the tables that were tracked then, and what was found."""


def unnamed_relations(connection: BaseDatabaseWrapper) -> Mapping[str, str]:
    """Return the tracked names, as tags have them, that are views or foreign tables here, and which of the two.

    Those are left out of which the project has said what changes them; see `CachedManager`'s `tables`.

    Queries:
        One in the life of the process for each database, past Django's cursor.
    """
    database = (connection.alias, str(connection.settings_dict["NAME"]))
    tracked = tracked_tables()
    known = _known.get(database)
    if known is None or known[0] is not tracked:
        known = _known[database] = (tracked, _found(connection))
    return known[1]


class Hidden(NamedTuple):
    """A model whose rows are written under names that are not watched for it.

    Args:
        table: Its own name for them.
        kind: What that is, one of `perfkit.postgres.catalogue.KINDS`.
        names: The others; not known on SQLite.
        is_refused: Whether it is not cached for that.
    """

    label: str
    table: str
    kind: str
    names: tuple[str, ...]
    is_refused: bool


def hidden_writes(connection: BaseDatabaseWrapper) -> list[Hidden]:
    """Return what the database knows, and the project has not said, of the rows of cached models.

    Queries:
        Two at most, at any number of models.
    """
    models = [
        model
        for model in apps.get_models(include_auto_created=True)
        if not model._meta.proxy and router.allow_migrate_model(connection.alias, model)
    ]
    cached = {table_name(model): model for model in models if table_name(model) in tracked_tables()}
    refused = _found(connection)
    states = {}
    if connection.vendor == "postgresql":
        states = odd_relations(connection, {model._meta.db_table for model in models})
    hidden = []
    for model in models:
        name, state = table_name(model), states.get(model._meta.db_table)
        others = sorted(map(plain_table_name, state.others)) if state else []
        kind = refused.get(_as_in_tags(model), state.kind if state else "")
        if name in cached:
            unwatched = tuple(other for other in others if not is_watched_for(name, other))
            is_refused = _as_in_tags(model) in refused
            if unwatched or is_refused:
                hidden.append(Hidden(model._meta.label, model._meta.db_table, kind, unwatched, is_refused))
        for other in others if state and state.is_writable else ():
            if other in cached and not is_watched_for(other, name):
                behind = cached[other]._meta
                hidden.append(Hidden(behind.label, behind.db_table, "table", (name,), is_refused=False))
    return hidden


def forget_relations() -> None:
    """Look anew, for a name may have become that of something else."""
    _known.clear()


def _as_in_tags(model: type[Model]) -> str:
    return table_of(any_write_tag("", table_name(model)))


def _found(connection: BaseDatabaseWrapper) -> dict[str, str]:
    names = {
        connection.ops.quote_name(owner._meta.db_table): _as_in_tags(owner)
        for model in watched_models()
        for owner in owners(model)
        if not is_named_for(owner)
    }
    connection.ensure_connection()
    driver: Any = connection.connection
    with connection.wrap_database_errors:
        if connection.vendor == "sqlite":
            rows = [(connection.ops.quote_name(name), kind) for name, kind in driver.execute(SQLITE_SQL)]
        else:
            rows = driver.execute(POSTGRES_SQL, [list(names)]).fetchall()
    return {names[name]: kind for name, kind in rows if name in names}
