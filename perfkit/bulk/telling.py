"""Tells outward when a bulk call begins and ends, and how many rows it was."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from django.db.models import QuerySet

from perfkit.signals import work


class Result(Protocol):
    """What every bulk call returns."""

    @property
    def rows(self) -> int:
        """Rows read, or written."""


P = ParamSpec("P")
F = TypeVar("F")
R = TypeVar("R", bound=Result)


def told(operation: str) -> Callable[[Callable[Concatenate[F, P], R]], Callable[Concatenate[F, P], R]]:
    """Have `perfkit.signals.work` told of each call of a function, whose first argument says which model."""

    def decorate(function: Callable[Concatenate[F, P], R]) -> Callable[Concatenate[F, P], R]:
        @wraps(function)
        def telling(*args: Any, **kwargs: Any) -> R:
            if work.listener is None:
                return function(*args, **kwargs)
            first: Any = args[0] if args else next(iter(kwargs.values()), None)
            with work.begin(
                f"bulk.{operation}", first.model if isinstance(first, QuerySet) else first
            ) as doing:
                result = function(*args, **kwargs)
                doing.tell(rows=result.rows)
                return result

        return telling

    return decorate
