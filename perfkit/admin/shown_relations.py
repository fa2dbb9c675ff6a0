"""Which relations an admin's list reads of its rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db.models import Model, QuerySet
from django.db.models.query import ModelIterable

from perfkit.errors import RelationPathError
from perfkit.loading.attributes import attribute_of, attributes_of
from perfkit.loading.autoloading import autoload
from perfkit.loading.declared_needs import Needs, needs_of
from perfkit.loading.eager_loading import apply
from perfkit.loading.plan import plan_for
from perfkit.loading.related_rows import RelatedRows
from perfkit.loading.relations import relations_of

Path = str | RelatedRows

Seen = tuple[tuple[type[Model], str], ...]
"""The computed attributes that led to where one is."""


def shown_relations(model_admin: Any, list_display: Iterable[Any]) -> list[Path]:
    """Return the paths of the relations that the columns of a list read, for `eager`.

    A column reads a relation where it names it, or a column of its rows; a function or a method, of the admin or
    of the model, reads what it declares by `needs`. A related row that is shown reads what its `__str__` declares.

    Raises:
        RelationPathError: What a function declares is not there.
    """
    paths: dict[Path, None] = {}
    for column in list_display:
        paths.update(dict.fromkeys(_of_column(model_admin, column)))
    return list(paths)


def loaded(queryset: QuerySet[Any], paths: Iterable[Path], *, is_autoloaded: bool) -> QuerySet[Any]:
    """Return the same rows with these relations.

    Args:
        is_autoloaded: Whether the rows load for each other what is read of them besides. Rows that a project makes
            in a way of its own do not.
    """
    plan = plan_for(queryset.model, tuple(paths))
    if queryset.query.select_related is True:  # others are joined already, which a name would replace
        plan = replace(plan, joins=())
    rows = apply(queryset, plan)
    is_plain = rows._iterable_class is ModelIterable  # noqa: SLF001  # no public name
    return autoload(rows) if is_autoloaded and is_plain else rows


def with_texts(queryset: QuerySet[Any]) -> QuerySet[Any]:
    """Return the same rows with what their texts read, so that all can be printed."""
    return loaded(queryset, dict.fromkeys(_of_text(queryset.model, ())), is_autoloaded=True)


def _of_column(model_admin: Any, column: Any) -> Iterator[Path]:
    model = model_admin.model
    if callable(column):
        yield from _of_needs(model, needs_of(column))
    elif column == "__str__":
        yield from _of_text(model, ())
    elif not _is_field(model, column) and hasattr(model_admin, column):  # as Django looks a column up
        yield from _of_needs(model, needs_of(getattr(model_admin, column)))
    elif attribute_of(model, column.split("__")[0]) is not None:  # else it is an annotation
        yield from _along(model, column.split("__"), column, (), is_shown=True)


def _is_field(model: type[Model], name: str) -> bool:
    try:
        field = model._meta.get_field(name)
    except FieldDoesNotExist:
        return False
    return not (field.auto_created and not field.concrete)


def _of_needs(model: type[Model], needs: Needs | None, seen: Seen = ()) -> Iterator[Path]:
    for path in needs.paths if needs is not None else ():
        if isinstance(path, RelatedRows):
            yield path
        else:
            yield from _along(model, path.split("__"), path, seen, is_shown=False)


def _of_text(model: type[Model], seen: Seen) -> Iterator[Path]:
    """Yield what the text of a row reads."""
    if (model, "__str__") not in seen:
        yield from _of_needs(model, needs_of(model.__str__), (*seen, (model, "__str__")))


def _along(model: type[Model], parts: list[str], path: str, seen: Seen, *, is_shown: bool) -> Iterator[Path]:
    """Yield the relations along a path, and what is read at its end.

    Args:
        is_shown: Whether what stands at its end is printed.
    """
    walked: list[str] = []
    current: type[Model] | None = model
    for part in parts:
        relation = None if current is None else relations_of(current).get(part)
        if relation is None:
            break
        walked.append(part)
        current = relation.model
    if walked:
        yield "__".join(walked)
    if current is None:
        return
    rest = parts[len(walked) :]
    if rest:
        below = _of_attribute(current, rest[0], path, seen)
    else:
        below = _of_text(current, seen) if is_shown else iter(())
    for each in below:
        yield _under(walked, each)


def _of_attribute(model: type[Model], name: str, path: str, seen: Seen) -> Iterator[Path]:
    attribute = attribute_of(model, name)
    if attribute is None:
        raise RelationPathError(model._meta.label, path, name, attributes_of(model))
    if attribute.is_computed and (model, name) not in seen:
        yield from _of_needs(model, attribute.needs, (*seen, (model, name)))


def _under(walked: list[str], path: Path) -> Path:
    if not walked:
        return path
    prefix = "__".join(walked)
    if isinstance(path, str):
        return f"{prefix}__{path}"
    return RelatedRows(
        f"{prefix}__{path.path}",
        *path.relations,
        filter=path.filter,
        order_by=path.order_by,
        limit=path.limit,
        to_attr=path.to_attr,
    )
