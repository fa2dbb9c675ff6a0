"""Querysets whose rows load their relations for each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from inspect import getattr_static
from itertools import islice
from typing import Any, Self, TypeVar

from django.db import models
from django.db.models import Model, QuerySet
from django.db.models.fields.related_descriptors import ReverseManyToOneDescriptor
from django.db.models.query import ModelIterable

from perfkit.errors import UnsupportedModelError
from perfkit.hydration import iterate, objects_of
from perfkit.loading.autoloading.descriptors import DEFERRED_SUCCESSORS, SUCCESSORS, generic_successors
from perfkit.loading.autoloading.managers import install_manager
from perfkit.loading.autoloading.modes import FETCH_MODE
from perfkit.loading.autoloading.peers import before_marking, mark
from perfkit.loading.autoloading.to_one import mark_by_model
from perfkit.loading.relations import relations_of

M = TypeVar("M", bound=Model)


class AutoloadIterable(ModelIterable):  # type: ignore[type-arg]  # not subscriptable at run time
    """Yields instances that load their relations for each other; those of one chunk, in `iterator()`."""

    made_as = ModelIterable

    def __iter__(self) -> Iterator[Any]:
        plain: Any = self.queryset._chain()  # type: ignore[attr-defined]  # noqa: SLF001  # no public name
        plain._iterable_class = ModelIterable  # noqa: SLF001  # likewise
        if not self.chunked_fetch:
            yield from self.finished(objects_of(plain))
            return
        rows = iterate(plain, chunked_fetch=True, chunk_size=self.chunk_size)
        while chunk := list(islice(rows, self.chunk_size)):
            yield from self.finished(chunk)

    @staticmethod
    def finished(objects: list[Any]) -> list[Any]:
        """Return instances that were read together, and know each other from now on."""
        return read_together(objects)


def autoload(queryset: QuerySet[M]) -> QuerySet[M]:
    """Return `queryset` with rows that load their relations for each other.

    The first row that is asked for a relation, a deferred field, or the `count()` or `exists()` of a relation
    loads it for all rows that were read with it (`PERFKIT["AUTOLOAD_AFTER_ROWS"]`: a later one).
    So do the rows that it loads.
    What is filtered, ordered or sliced of a relation asks for each row, as ever.

    Args:
        queryset: Any queryset of instances.

    Returns:
        A new queryset, not evaluated.

    Raises:
        UnsupportedModelError: It yields dicts or tuples.

    Queries:
        Those of the queryset, and one for each relation that is read, for each list or chunk of `iterator()`.
    """
    clone: Any = queryset._chain()  # type: ignore[attr-defined]  # noqa: SLF001  # no public name
    if not issubclass(clone._iterable_class, ModelIterable):  # noqa: SLF001  # likewise
        raise UnsupportedModelError(
            queryset.model._meta.label,
            "autoload",
            "a queryset of values() has no instances to load anything for.",
        )
    clone._iterable_class = AutoloadIterable  # noqa: SLF001  # likewise
    return clone  # type: ignore[no-any-return]


class AutoloadQuerySetMixin:
    """`autoload()` as a method of your querysets."""

    def autoload(self) -> Self:
        """Return this queryset with rows that load their relations for each other, see `autoload`."""
        return autoload(self)  # type: ignore[arg-type, return-value]  # a mixin of querysets


class AutoloadManager(models.Manager[M]):
    """A manager all of whose querysets have rows that load their relations for each other, see `autoload`.

    Example:
        class Flight(models.Model):
            objects = AutoloadManager()
    """

    def get_queryset(self) -> QuerySet[M]:
        """Return all rows."""
        return autoload(super().get_queryset())


def read_together(rows: list[Any]) -> list[Any]:
    """Return rows of one model, and have them and what was joined to them load their relations for each other."""
    if len(rows) < 2:  # noqa: PLR2004  # one row has nobody to load for
        return rows
    mark(rows)
    joined = _joined_to(rows)
    if joined:
        _mark_joined(joined)
    return rows


def _joined_to(rows: Iterable[Any]) -> list[Any]:
    """Return the rows that were joined to others."""
    return [
        value
        for row in rows
        if (cached := row._state.__dict__.get("fields_cache"))  # asked for itself, it would be made
        for value in cached.values()
        if isinstance(value, Model)
    ]


def _mark_joined(rows: Iterable[Any]) -> None:
    """Mark rows that were joined, and those that were joined to them."""
    seen: set[int] = set()
    while rows := [row for row in rows if id(row) not in seen]:
        seen.update(map(id, rows))
        mark_by_model(rows)
        rows = _joined_to(rows)


@cache
def install(model: type[Model]) -> None:
    """Have what stands for relations and fields on `model` look for peers.

    It changes nothing for instances that were not read by `autoload`.
    """
    for name in relations_of(model):
        descriptor = getattr_static(model, name, None)
        if isinstance(descriptor, ReverseManyToOneDescriptor):
            install_manager(descriptor, name)
    if FETCH_MODE is not None:
        return
    successors = {**SUCCESSORS, **DEFERRED_SUCCESSORS, **generic_successors()}
    names = [*relations_of(model), *(field.attname for field in model._meta.concrete_fields)]
    for name in names:
        descriptor = getattr_static(model, name, None)
        successor = successors.get(type(descriptor))
        if successor is not None:
            descriptor.__class__ = successor


before_marking(install)
