"""What a function reads of a row, declared beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeVar

from perfkit.loading.related_rows import RelatedRows

F = TypeVar("F")

DECLARED: Final = "perfkit_needs"
WRAPPERS: Final = ("__func__", "fget", "func", "wrapped")
"""Where static methods, properties, cached properties and pydantic's decorators keep the function."""


@dataclass(frozen=True)
class Needs:
    """What `needs` returns: a decorator, and metadata for `Annotated`."""

    paths: tuple[str | RelatedRows, ...]

    def __call__(self, function: F) -> F:
        """Declare it of a function, a method or a property, which is returned."""
        setattr(_function_of(function), DECLARED, self)
        return function


def needs(*paths: str | RelatedRows) -> Needs:
    """Declare what a function reads of a row, so that `from_schema` loads it and nothing else for it.

    It decorates a property or a method of a model, or a `resolve_…` function or a validator of a schema; above or
    below `@property` and `@staticmethod`. In `Annotated` it says what a field of a schema is made of.

    Args:
        paths: Columns, and relations nested with double underscores, from the row that the function is given. A
            path that ends at a relation wants its rows whole; another property brings along what it needs.
            None at all: the function reads nothing of the row.

    Example:
        >>> class Flight(models.Model):  # doctest: +SKIP
        ...     @property
        ...     @needs("number", "airline__name")
        ...     def title(self):
        ...         return f"{self.airline.name} {self.number}"
    """
    return Needs(paths)


def needs_of(function: Any) -> Needs | None:
    """Return what is declared of a function, or of what wraps it; None where nothing is."""
    found = getattr(_function_of(function), DECLARED, None)
    return found if isinstance(found, Needs) else None


def _function_of(function: Any) -> Any:
    while True:
        name = next((name for name in WRAPPERS if getattr(function, name, None) is not None), None)
        if name is None:
            return function
        function = getattr(function, name)
