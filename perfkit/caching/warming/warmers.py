"""The project's warmers by name, and what one may return.

An app registers them in its module `warmers`:

    @warmer("airports")
    def airports() -> Iterator[Wanted]:
        yield Airport.objects.all()
        yield Answer(Airport.objects.order_by("name"))
        for code in ("JFK", "LGA", "EWR"):
            yield partial(airport_statistics, code)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

from django.db.models import QuerySet
from django.utils.module_loading import autodiscover_modules

from perfkit.errors import UnknownWarmerError


@dataclass(frozen=True, slots=True)
class Answer:
    """The list that a queryset yields, kept as such; a queryset alone stands for its rows, each by its key."""

    queryset: QuerySet[Any]


Wanted = QuerySet[Any] | Answer | partial[Any] | Callable[[], Any]
Warmer = Callable[[], Wanted | Iterable[Wanted]]
W = TypeVar("W", bound=Callable[[], Any])

_warmers: Final[dict[str, Warmer]] = {}


def warmer(name: str) -> Callable[[W], W]:
    """Register a function that says what is to be in the cache.

    It returns one of these, or returns or yields any number of them, in any mixture:

    - a queryset: its rows, for reads by primary key; its model needs a `CachedManager`;
    - `Answer(queryset)`: the list itself, for those who ask the same of a cached queryset;
    - `functools.partial(function, …)`: a call of a cached function, or of a cached query.

    Where the progress is shown, it is called twice: the first time to count.

    Args:
        name: What `warm_cache` calls it; unique in the project.

    Raises:
        ValueError: Another function has this name.
    """

    def register(function: W) -> W:
        known = _warmers.get(name)
        if known is not None and (known.__module__, known.__qualname__) != (
            function.__module__,
            function.__qualname__,
        ):
            raise ValueError(
                f"There are two warmers {name!r}: in {known.__module__} and in {function.__module__}."
            )
        _warmers[name] = function
        return function

    return register


def registered() -> list[str]:
    """Return the names of all warmers of the project, sorted."""
    autodiscover_modules("warmers")
    return sorted(_warmers)


def warmers_named(names: Iterable[str] | None) -> dict[str, Warmer]:
    """Return warmers by name, in the order asked for; all of them where none is named.

    Raises:
        UnknownWarmerError: A name is not registered.
    """
    known = registered()
    wanted = list(names or known)
    for name in wanted:
        if name not in _warmers:
            raise UnknownWarmerError(name, known)
    return {name: _warmers[name] for name in wanted}
