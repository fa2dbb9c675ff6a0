"""Single rows by primary key: the read that depends on one row and builds no queryset on a hit."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import IntegerField, Model, QuerySet, UUIDField
from django.db.models.query import ModelIterable

from perfkit.caching.databases import entry_scope, tag_scope
from perfkit.caching.fills import Stored, fill
from perfkit.caching.places import Place, Rows
from perfkit.caching.queries import compiled, model_fingerprint, rows_of
from perfkit.caching.reads import known_rows, read_rows
from perfkit.caching.registry import TrackedModel
from perfkit.caching.store import Store
from perfkit.caching.tags import PrimaryKey, any_write_tag, entry_prefix, key_text, row_prefix, table_tag
from perfkit.caching.writes import opened_connection
from perfkit.hydration import Hydrator

Row = Sequence[Any]

MOST_LAYOUTS: Final = 1_000
MOST_PLACES: Final = 5_000
"""Of one model, kept in a process; beyond, all are forgotten and made anew."""


def read_one(tracked: TrackedModel, pk: PrimaryKey, *, alias: str, ttl_seconds: int) -> Any:
    """Return the instance with this primary key, None where there is none.

    Queries:
        None on a hit (one round trip to the cache server), else one.
    """
    opened = opened_connection(alias)
    if opened is not None:
        layout = layout_of(tracked, opened)
        rows = known_rows(tracked.model, layout.place(pk), opened)
        if rows is not None:
            return layout.instances(rows, opened)[0] if rows else None
    connection = connections[alias]
    layout = layout_of(tracked, connection)
    row = layout.row(pk, connection=connection, ttl_seconds=ttl_seconds)
    return None if row is None else layout.instance(row, connection)


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
) -> Stored:
    """Store rows with the tokens taken before they were read; see `fills.fill`."""
    connection = connections[alias]
    layout = layout_of(tracked, connection)
    answers = {layout.place(pk).key: ([row], taken[pk]) for pk, row in rows.items()}
    return fill(store, tracked.model, answers, ttl_seconds=ttl_seconds)


class Layout:
    """How rows of a model are kept that come from one database: what all their places have in common.

    Attributes:
        instances: Makes the instances of rows with all columns of the model.
    """

    __slots__ = ("_any_write", "_entry", "_places", "_row", "_tracked", "_whole", "instances")

    def __init__(self, tracked: TrackedModel, connection: BaseDatabaseWrapper) -> None:
        scope = tag_scope(connection)
        self._tracked = tracked
        self._whole = table_tag(scope, tracked.table)
        self._any_write = any_write_tag(scope, tracked.table)
        self._row = row_prefix(scope, tracked.table)
        columns = _columns(tracked.model, connection.vendor)
        self._entry = entry_prefix(entry_scope(connection), tracked.table, columns)
        self._places: dict[PrimaryKey, Place] = {}
        rows: QuerySet[Any] = QuerySet(tracked.model, using=connection.alias)
        self.instances = Hydrator(compiled(rows.query, connection.alias).compiler, ModelIterable)

    def place(self, pk: PrimaryKey) -> Place:
        """Return where a row is kept: it depends on its own tag and on that of its whole table.

        That there is none depends on any write, for new rows are not told by their keys.
        """
        place = self._places.get(pk)
        if place is None:
            key = key_text(pk)
            tags = (self._row + key, self._whole, self._any_write)
            place = Place(self._entry + key, tags, lasting=2, family=self._tracked.table)
            if len(self._places) >= MOST_PLACES:
                self._places.clear()
            self._places[pk] = place
        return place

    def row(self, pk: PrimaryKey, *, connection: BaseDatabaseWrapper, ttl_seconds: int) -> Row | None:
        """Return the column values of the row with this primary key, None where there is none.

        Queries:
            As `read_one`.
        """
        tracked = self._tracked
        rows = read_rows(
            tracked.model,
            self.place(pk),
            connection=connection,
            ttl_seconds=ttl_seconds,
            fetch=lambda: _selected_by_key(tracked, pk, connection),
            is_expected=lambda rows: (
                not rows or (len(rows) == 1 and tracked.to_pk(rows[0][tracked.pk_index]) == pk)
            ),
        )
        return rows[0] if rows else None

    def instance(self, row: Row, connection: BaseDatabaseWrapper) -> Any:
        """Return the instance that a row with all columns of the model makes."""
        return self.instances([row], connection)[0]


_layouts: Final[dict[tuple[type[Model], str, str], Layout]] = {}


def layout_of(tracked: TrackedModel, connection: BaseDatabaseWrapper) -> Layout:
    """Return how rows of a model are kept that come from the database of this connection."""
    found = (tracked.model, connection.alias, entry_scope(connection))
    layout = _layouts.get(found)
    if layout is None:
        if len(_layouts) >= MOST_LAYOUTS:
            _layouts.clear()
        layout = _layouts[found] = Layout(tracked, connection)
    return layout


def _selected(tracked: TrackedModel, keys: Sequence[PrimaryKey], alias: str) -> Rows:
    return rows_of(QuerySet(tracked.model, using=alias).order_by().filter(pk__in=keys))


def _selected_by_key(tracked: TrackedModel, pk: PrimaryKey, connection: BaseDatabaseWrapper) -> Rows:
    """Ask the database for one row, by SQL that was compiled for another key of the model."""
    field = tracked.model._meta.pk
    if isinstance(pk, int):
        least, most = connection.ops.integer_field_range(field.get_internal_type())
        if not least <= pk <= most:
            return []
    with connection.cursor() as cursor:
        cursor.execute(
            _sql_by_key(tracked.model, connection.alias), [field.get_db_prep_value(pk, connection)]
        )
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
