"""Tables whose writes change rows of tracked tables without naming those.

They must be known before anything is written, in processes too that never read.
So the models tell them, where the database cascades by itself (Django 6.1's `DB_CASCADE` and its kin),
and the project does, in `CachedManager(tables=…)`, where a view or a partition is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from django.db.models import Model

from perfkit.caching.keys import unsure
from perfkit.caching.registry import (
    TrackedTable,
    owners,
    plain_table_name,
    table_name,
    tracked_tables,
    watched_models,
)
from perfkit.watching.cascades import database_on_delete

Edges = Mapping[str, set[str]]
"""Names of tables, by that of one whose write changes them."""

_named: Final[dict[type[Model], set[str]]] = {}
"""Tables that managers of a model name."""

_known: tuple[Mapping[str, TrackedTable], Mapping[str, TrackedTable]] = ({}, {})
"""The tracked tables, and all that were watched with them."""


def name_tables(model: type[Model], tables: Iterable[str]) -> None:
    """Have a write to one of `tables` taken for a write to unknown rows of `model`."""
    _named.setdefault(model, set()).update(map(plain_table_name, tables))


def is_named_for(model: type[Model]) -> bool:
    """Say whether the project has said under which other names rows of the model's table are written."""
    return any(table_name(each) == table_name(model) for each in _named)


def watched_tables() -> Mapping[str, TrackedTable]:
    """Return what a statement must be searched for: the tracked tables, and those whose writes change these."""
    global _known  # noqa: PLW0603  # replaced as a whole, for other threads use it meanwhile
    tracked = tracked_tables()
    if _known[0] is not tracked:
        _known = (tracked, _with_sources(tracked))
    return _known[1]


def watched_table(name: str) -> TrackedTable | None:
    """Return what is known of a table, also where only the beginning of its name is."""
    tables = watched_tables()
    stems = (table for key, table in tables.items() if key.endswith("*") and name.startswith(key[:-1]))
    return tables.get(name) or next(stems, None)


def is_watched_for(table: str, name: str) -> bool:
    """Say whether a write to `name` is taken for one to `table`."""
    return any(
        table in each.changes
        for key, each in watched_tables().items()
        if key == name or (key.endswith("*") and name.startswith(key[:-1]))
    )


def _with_sources(tracked: Mapping[str, TrackedTable]) -> Mapping[str, TrackedTable]:
    by_writes: defaultdict[str, set[str]] = defaultdict(set)
    by_deletes: defaultdict[str, set[str]] = defaultdict(set)
    for model in watched_models():
        for source in _named.get(model, ()):
            by_writes[source].add(table_name(model))
        for owner in owners(model):
            for source in _deleted_before(owner):
                by_deletes[source].add(table_name(owner))
    tables = dict(tracked)
    for name in {*by_writes, *by_deletes}:
        changed = _reached({name}, by_writes)
        cascaded = _reached(set().union(*[by_deletes.get(each, ()) for each in changed]), by_writes)
        table = tables.get(name) or TrackedTable(name, "", unsure, is_read=False)
        changes = frozenset(changed - {name}) & tracked.keys()
        cascades = frozenset(cascaded) & tracked.keys()  # perhaps itself: other rows than those it names
        tables[name] = replace(table, changes=changes, cascades=cascades - changes)
    return tables


def _deleted_before(model: type[Model]) -> Iterator[str]:
    """Yield the tables whose deleted rows make the database itself change, or delete, rows of `model`."""
    seen = {model}
    models = [model]
    while models:
        child = models.pop()
        for field in child._meta.local_concrete_fields:
            on_delete = database_on_delete(field)
            if on_delete is None:
                continue
            if child is not model and on_delete.operation != "CASCADE":
                continue  # such a row stays, and what points to it too
            parent: Any = field.related_model
            yield table_name(parent)
            if parent not in seen:
                seen.add(parent)
                models.append(parent)


def _reached(names: Iterable[str], edges: Edges) -> set[str]:
    """Return `names` and all that changes with them."""
    reached = set(names)
    ahead = list(reached)
    while ahead:
        new = edges.get(ahead.pop(), set()) - reached
        reached |= new
        ahead += new
    return reached
