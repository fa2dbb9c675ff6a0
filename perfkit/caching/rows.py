"""Single rows by primary key: the read that depends on one row and builds no queryset on a hit."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connections
from django.db.models import IntegerField, Model, QuerySet, UUIDField
from django.db.models.query import ModelIterable

from perfkit.caching.databases import entry_scope, tag_scope
from perfkit.caching.queries import compiled, model_fingerprint
from perfkit.caching.reads import Place, Rows, fill, read_rows
from perfkit.caching.registry import TrackedModel
from perfkit.caching.store import Store
from perfkit.caching.tags import PrimaryKey, any_write_tag, entry_key, row_tag, table_tag
from perfkit.hydration import Hydrator

Row = Sequence[Any]


def read_one(tracked: TrackedModel, pk: PrimaryKey, *, alias: str, ttl_seconds: int) -> Any:
    """Return the instance with this primary key, None where there is none.

    Queries:
        None on a hit (one round trip to the cache server), else one.
    """
    row = row_by_key(tracked, pk, alias=alias, ttl_seconds=ttl_seconds)
    return None if row is None else instance_of(tracked, row, alias)


def instance_of(tracked: TrackedModel, row: Row, alias: str) -> Any:
    """Return the instance that a row with all columns of the model makes."""
    connection = connections[alias]
    return _hydrator(tracked.model, connection.vendor, alias)([row], connection, alias=alias)[0]


def row_by_key(tracked: TrackedModel, pk: PrimaryKey, *, alias: str, ttl_seconds: int) -> Row | None:
    """Return the column values of the row with this primary key, None where there is none.

    Queries:
        As `read_one`.
    """
    rows = read_rows(
        tracked.model,
        place_of(tracked, pk, alias),
        alias=alias,
        ttl_seconds=ttl_seconds,
        fetch=lambda: _selected_by_key(tracked, pk, alias),
        is_expected=lambda rows: (
            not rows or (len(rows) == 1 and tracked.to_pk(rows[0][tracked.pk_index]) == pk)
        ),
    )
    return rows[0] if rows else None


def select_rows(tracked: TrackedModel, keys: Iterable[PrimaryKey], alias: str) -> dict[PrimaryKey, Row]:
    """Return the column values of the rows with these keys, by key, in one query; missing rows are left out.

    A row whose own key differs from all that were asked for (a database may find equal what Python does not)
    is left out too: nothing may be stored under a name that writers of the row do not know.
    """
    wanted = set(keys)
    rows = {tracked.to_pk(row[tracked.pk_index]): row for row in _selected(tracked, list(wanted), alias)}
    return {pk: row for pk, row in rows.items() if pk is not None and pk in wanted}


def fill_rows(
    store: Store,
    tracked: TrackedModel,
    alias: str,
    rows: Mapping[PrimaryKey, Row],
    taken: Mapping[PrimaryKey, tuple[bytes, ...]],
    *,
    ttl_seconds: int,
) -> int:
    """Store rows with the tokens taken before they were read; return how many were stored."""
    answers = {place_of(tracked, pk, alias).key: ([row], taken[pk]) for pk, row in rows.items()}
    return fill(store, tracked.model, answers, ttl_seconds=ttl_seconds)


def place_of(tracked: TrackedModel, pk: PrimaryKey, alias: str) -> Place:
    """Return where a row is kept: it depends on its own tag and on that of its whole table.

    That there is none depends on any write, for new rows are not told by their keys.
    """
    connection = connections[alias]
    scope = tag_scope(connection)
    columns = _columns(tracked.model, connection.vendor)
    key = entry_key(entry_scope(connection), tracked.table, columns, pk)
    table = tracked.table
    tags = (row_tag(scope, table, pk), table_tag(scope, table), any_write_tag(scope, table))
    return Place(key, tags, lasting=2, family=table)


def _selected(tracked: TrackedModel, keys: Sequence[PrimaryKey], alias: str) -> Rows:
    rows: QuerySet[Any] = QuerySet(tracked.model, using=alias).order_by().filter(pk__in=keys)
    try:
        return compiled(rows.query, alias).rows()
    except EmptyResultSet:  # no key, or none that a column can hold
        return []


def _selected_by_key(tracked: TrackedModel, pk: PrimaryKey, alias: str) -> Rows:
    """Ask the database for one row, by SQL that was compiled for another key of the model."""
    connection = connections[alias]
    field = tracked.model._meta.pk
    if isinstance(pk, int):
        least, most = connection.ops.integer_field_range(field.get_internal_type())
        if not least <= pk <= most:
            return []
    with connection.cursor() as cursor:
        cursor.execute(_sql_by_key(tracked.model, alias), [field.get_db_prep_value(pk, connection)])
        rows: Rows = cursor.fetchall()
        return rows


@cache
def _sql_by_key(model: type[Model], alias: str) -> str:
    any_key: PrimaryKey = "1"
    if isinstance(model._meta.pk, IntegerField | UUIDField):
        any_key = 1 if isinstance(model._meta.pk, IntegerField) else uuid.UUID(int=1)
    rows: QuerySet[Any] = QuerySet(model, using=alias).order_by().filter(pk=any_key)
    known = compiled(rows.query, alias)
    assert len(known.params) == 1  # noqa: S101  # the key alone
    return known.sql


@cache
def _columns(model: type[Model], vendor: str) -> str:
    return f"{vendor[:2]}{model_fingerprint(model)}"


@cache
def _hydrator(model: type[Model], vendor: str, alias: str) -> Hydrator:
    """Return what makes instances of rows with all columns of the model."""
    return Hydrator(compiled(QuerySet(model, using=alias).query, alias).compiler, ModelIterable)
