"""A queryset whose query is built only when somebody asks for it.

See Note [Querysets that are not built] in `calls`.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final, Self, TypeVar

from django.db.models import Model, QuerySet
from django.db.models.sql import Query

from perfkit.caching.calls import SLICE, Call, Unbuilt, Value, conditions, root_of
from perfkit.caching.locks import fork_safe_lock

M = TypeVar("M", bound=Model)

DJANGOS_QUERY: Final[Any] = QuerySet.query

NOT_CARRIED: Final = frozenset(
    {"model", "_query", "_db", "_hints", "_result_cache", "_prefetch_done", "_deferred_filter"}
    | {"_defer_next_filter", "_cloning_enabled"}
)
CARRIED: Final = tuple(vars(QuerySet(None)).keys() - NOT_CARRIED)
"""What a clone of a queryset has of it, besides what it is made with."""

CALLS: Final = (
    *("__init__", "_clone", "_chain", "query", "filter", "exclude", "order_by", "select_related"),
    *("__getitem__", "_filter_or_exclude", "_filter_or_exclude_inplace", "_not_support_combined_queries"),
)
"""Where a class of the project's has one of these of its own, each call is carried out."""

OWN: Final = "perfkit.caching."

_lock: Final = fork_safe_lock()


class UnbuiltQuerySet(QuerySet[M]):
    """Does what Django's does, and writes down what it can instead of building a query for it."""

    _query: Any
    """A `Query`, as Django has it, or what stands for one: `Unbuilt`."""

    _cloning_enabled = True
    """Where Django, from 6.1 on, sets it to False, a call changes this queryset instead of a clone."""

    def __init__(
        self, model: type[M] | None = None, query: Any = None, using: str | None = None, hints: Any = None
    ) -> None:
        if query is None and model is not None and _is_as_here(type(self)):
            query = root_of(model)
        super().__init__(model, query, using, hints)

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process can make this from, where other calls are known."""
        self._be_built()
        return super().__getstate__()

    @property
    def query(self) -> Query:
        """The query, built when it is first asked for. See Note [Querysets that are not built] in `calls`."""
        self._be_built()
        return DJANGOS_QUERY.fget(self)  # type: ignore[no-any-return]

    @query.setter
    def query(self, value: Query) -> None:
        DJANGOS_QUERY.fset(self, value)

    def filter(self, *args: Any, **kwargs: Any) -> Self:
        """Return the rows that fulfil the conditions."""
        return self._conditioned("filter", args, kwargs)

    def exclude(self, *args: Any, **kwargs: Any) -> Self:
        """Return the rows that do not fulfil the conditions."""
        return self._conditioned("exclude", args, kwargs)

    def order_by(self, *field_names: Any) -> Self:
        """Return the rows in another order."""
        return self._named("order_by", field_names)

    def select_related(self, *fields: Any) -> Self:
        """Return the rows with those that foreign keys lead to."""
        return self._named("select_related", fields)

    def __getitem__(self, k: Any) -> Any:
        """Return a row, or those of a slice."""
        if type(k) is slice and k.step is None and self._result_cache is None:
            low, high = 0 if k.start is None else k.start, k.stop
            if type(low) is int and type(high) is int and 0 <= low < high:
                return self._called(SLICE, (low, high), (k,), {})
        return super().__getitem__(k)

    @property
    def _asked(self) -> Query | Unbuilt:
        """What is asked for, as it is: built or not."""
        asked = self._query
        return asked if type(asked) is Unbuilt else self.query

    def _filter_or_exclude_inplace(self, negate: bool, args: Any, kwargs: Any) -> None:
        self._be_built()
        super()._filter_or_exclude_inplace(negate, args, kwargs)  # type: ignore[misc]  # missing in the stubs

    def _be_built(self) -> None:
        """Have a query where anybody may change it from now on."""
        asked = self._query
        if type(asked) is Unbuilt:
            query = asked.build()
            with _lock:
                if self._query is asked:  # else another thread's is the one that people have seen
                    self._query = query

    def _conditioned(self, method: str, args: Any, kwargs: dict[str, Any]) -> Self:
        asked = None if args or self._defer_next_filter else conditions(kwargs)  # type: ignore[attr-defined]  # missing in the stubs
        if asked is None:
            return _djangos(self, method)(*args, **kwargs)  # type: ignore[no-any-return]
        form, values = asked
        return self._called((method, form), values, (), kwargs)

    def _named(self, method: str, names: tuple[Any, ...]) -> Self:
        if set(map(type, names)) - {str} or "?" in names:
            return _djangos(self, method)(*names)  # type: ignore[no-any-return]
        return self._called((method, names), (), names, {})

    def _called(
        self, call: Call, values: tuple[Value, ...], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Self:
        """Write a call down, or have Django carry it out. See Note [Querysets that are not built] in `calls`."""
        unbuilt = self._query
        is_unbuilt = type(unbuilt) is Unbuilt and self._cloning_enabled
        if not is_unbuilt or unbuilt.calls.is_sliced or self._sticky_filter:  # type: ignore[attr-defined]  # missing in the stubs
            return _djangos(self, call[0])(*args, **kwargs)  # type: ignore[no-any-return]
        known = unbuilt.after(call, values)
        if known is not None:
            return self._standing_for(known)
        # On a clone, so that this one stays as it is: it may be the one that a view begins with each time.
        carried_out = _djangos(self._standing_for(unbuilt), call[0])(*args, **kwargs)
        unbuilt.learn(call, values, carried_out.query)
        return carried_out  # type: ignore[no-any-return]

    def _standing_for(self, unbuilt: Unbuilt) -> Self:
        clone: Any = self.__class__(self.model, unbuilt, self._db, self._hints)  # type: ignore[attr-defined]  # missing in the stubs
        state, own = vars(clone), vars(self)
        for name in CARRIED:
            state[name] = own[name]
        return clone  # type: ignore[no-any-return]

    def _clone(self) -> Self:
        asked = self._query  # once: another thread may have it built at any moment
        if type(asked) is Unbuilt:
            return self._standing_for(asked)
        return super()._clone()  # type: ignore[misc,no-any-return]  # missing in the stubs


@cache
def _is_as_here(cls: type) -> bool:
    """Say whether the methods of a class that make a query are those of Django and of this room."""
    parts = [
        part for part in cls.__mro__ if part not in QuerySet.__mro__ and not part.__module__.startswith(OWN)
    ]
    return all(name not in vars(part) for part in parts for name in CALLS)


def _djangos(queryset: UnbuiltQuerySet[M], method: str) -> Any:
    """Return the method that one of the same name in `UnbuiltQuerySet` stands before."""
    return getattr(super(UnbuiltQuerySet, queryset), method)
