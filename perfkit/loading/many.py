"""Many rows by their keys, in the order that was asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.core.exceptions import ValidationError
from django.db import models

from perfkit.errors import UsageError
from perfkit.loading.eager_loading import eager

M = TypeVar("M", bound=models.Model)


@dataclass(frozen=True)
class Loaded(Generic[M]):
    """What `load_many` found.

    Attributes:
        rows: One for each key, in their order; None for a key that no row has.
            Of equal keys all places hold the same instance.
        missing: The keys that no row has, each once, in their order.
    """

    rows: list[M | None]
    missing: list[Any]


def load_many(
    source: type[M] | models.QuerySet[M],
    keys: Iterable[Any],
    *,
    relations: Sequence[str] = (),
    using: str | None = None,
) -> Loaded[M]:
    """Load the rows that have these primary keys.

    Args:
        source: A model, by its default manager; or a queryset of instances, neither sliced nor combined, of which
            only the rows are found.
        keys: Primary keys, or what their field makes one of, such as the text of a number; consumed once.
        relations: Paths that are loaded with them, as for `eager`.
        using: The alias of the database, the router's or the queryset's choice where not given.

    Raises:
        UsageError: A key is none that the model's can be; before any query.
        RelationPathError: A path names no relation; before any query.

    Queries:
        One, and one more for each to-many step in the paths; none for no keys.
        On SQLite one for each as many keys as a statement may have parameters.

    Example:
        >>> load_many(Airline, ["UA", "??", "DL"]).missing  # doctest: +SKIP
        ['??']
    """
    queryset = source.all() if isinstance(source, models.QuerySet) else source._default_manager.all()
    if using is not None:
        queryset = queryset.using(using)
    queryset = eager(queryset, *relations)
    wanted = [key_of(queryset.model, key) for key in keys]
    found = queryset.in_bulk(list(dict.fromkeys(wanted))) if wanted else {}
    missing = dict.fromkeys(key for key in wanted if key not in found)
    return Loaded([found.get(key) for key in wanted], list(missing))


def key_of(model: type[models.Model], key: Any) -> Any:
    """Return a primary key as rows have it.

    Raises:
        UsageError: It cannot be one.
    """
    fields = model._meta.pk_fields
    try:
        if len(fields) == 1:
            made = fields[0].to_python(key)
        else:
            made = tuple(field.to_python(part) for field, part in zip(fields, key, strict=True))
        hash(made)
        if isinstance(made, str) and "\0" in made:
            raise ValueError("no text of a database has a NUL")  # noqa: TRY301  # told as the others are
    except (ValidationError, ValueError, TypeError) as error:
        kind = type(key).__name__
        raise UsageError(f"A key of type {kind} is no primary key of {model._meta.label}.") from error
    return made
