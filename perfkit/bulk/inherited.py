"""Rows that are spread over several tables by multi-table inheritance, inserted table by table.

Django's `bulk_create` refuses them; its `save` writes the tables of the parents first, and so does this,
many rows by one statement.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import connections, models, transaction

from perfkit.bulk.plan import is_over_several_tables


class InheritedRows(models.QuerySet[Any]):
    """A queryset whose `bulk_create` inserts into the tables of the parents as well."""

    def bulk_create(self, objs: Iterable[Any], *_: Any, **__: Any) -> list[Any]:
        """Insert instances, which know their keys and what the database computed then.

        Queries:
            One for each table, and for so many rows as a statement takes; two where only some rows have keys.
        """
        rows = list(objs)
        with transaction.atomic(using=self.db, savepoint=False):
            models_of_rows = tables(self.model)
            self._prepare(rows, [model._meta.pk.attname for model in models_of_rows])
            for model in models_of_rows:
                self._insert_into(model, rows)
        for row in rows:
            row._state.adding = False
            row._state.db = self.db
        return rows

    def _prepare(self, rows: Sequence[Any], keys: Sequence[str]) -> None:
        """Do what Django does before it inserts, but keep the keys that a row gives, which it takes away."""
        for row in rows:
            kept = {key: getattr(row, key) for key in keys}
            self._prepare_for_bulk_create([row])  # type: ignore[attr-defined]  # missing in the stubs
            for key, value in kept.items():
                if value is not None:
                    setattr(row, key, value)

    def _insert_into(self, model: type[models.Model], rows: Sequence[Any]) -> None:
        meta = model._meta
        for parent, link in meta.parents.items():
            if link is not None:
                for row in rows:
                    setattr(row, link.attname, row.serializable_value(parent._meta.pk.attname))
        fields = [field for field in meta.local_concrete_fields if not field.generated]
        key = meta.pk.attname
        keyed = [row for row in rows if getattr(row, key) is not None]
        new = [row for row in rows if getattr(row, key) is None]
        self._insert_rows(model, keyed, fields)
        self._insert_rows(model, new, [field for field in fields if field is not meta.auto_field])

    def _insert_rows(self, model: type[models.Model], rows: Sequence[Any], fields: Sequence[Any]) -> None:
        if not rows:
            return
        queryset: Any = models.QuerySet(model, using=self.db)
        returning = model._meta.db_returning_fields
        returned: list[Any]
        if connections[self.db].features.can_return_rows_from_bulk_insert:
            returned = queryset._batched_insert(rows, fields, None)  # noqa: SLF001  # what bulk_create calls
        else:
            insert = queryset._insert  # noqa: SLF001  # likewise
            returned = [
                insert([row], fields=fields, using=self.db, returning_fields=returning)[0] for row in rows
            ]
        for row, values in zip(rows, returned if returning else [()] * len(rows), strict=True):
            for field, value in zip(returning, values, strict=True):
                setattr(row, field.attname, value)


def tables(model: type[models.Model]) -> list[type[models.Model]]:
    """Return the models whose tables hold the rows of `model`, parents before their children."""
    concrete: type[models.Model] = model._meta.concrete_model or model
    found: dict[type[models.Model], None] = {}
    for parent in concrete._meta.parents:
        found |= dict.fromkeys(tables(parent))
    return [*found, concrete]


def rows_of(model: type[models.Model], using: str) -> models.QuerySet[Any]:
    """Return a queryset whose `bulk_create` takes the rows of any model."""
    return (InheritedRows if is_over_several_tables(model) else models.QuerySet)(model, using=using)
