"""Related managers whose `all()`, `count()` and `exists()` answer for all rows that were read together."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from typing import Any, Final, Self

from django.db.models import QuerySet

from perfkit.loading.autoloading.peers import ATTRIBUTE
from perfkit.loading.autoloading.to_many import Question


class WholeRelation(QuerySet[Any]):
    """All rows of a relation of one instance; what is filtered, ordered or sliced of it is no longer that.

    It is a mixin: `whole_relation` makes a class of it for each class of querysets.
    It is empty at first: what Django keeps in a queryset is taken from one of the relation's manager
    when something of it is asked for. Most are asked for their rows alone, and those come from elsewhere.
    """

    question: Question | None = None
    _plain_class: type[QuerySet[Any]]

    def __getattr__(self, name: str) -> Any:
        made_from = self.__dict__.pop("made_from", None)
        if made_from is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        plain = made_from()
        cls: Any = type(plain)
        if cls is not self._plain_class:
            self.__class__ = whole_relation(cls)  # the manager's choice
        self.__dict__ = {**vars(plain), **self.__dict__}
        return getattr(self, name)

    def _fetch_all(self) -> None:
        rows = answer_of(self, "rows")
        if rows is not None:
            self._result_cache = rows
            self._prefetch_done = True
        super()._fetch_all()

    def count(self) -> int:
        """Return how many rows there are."""
        found = answer_of(self, "count")
        return super().count() if found is None else found

    def exists(self) -> bool:
        """Return whether there is any row."""
        found = answer_of(self, "exists")
        return super().exists() if found is None else found

    def _clone(self) -> Self:
        clone: Any = super()._clone()  # type: ignore[misc]  # missing in the stubs
        clone.__class__ = self._plain_class
        return clone  # type: ignore[no-any-return]

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return copy.deepcopy(self._clone(), memo)

    def __reduce_ex__(self, protocol: Any) -> Any:
        self._fetch_all()
        self.query  # noqa: B018  # all that Django keeps in it is there now
        self.__dict__.pop("question", None)
        self.__class__ = self._plain_class  # type: ignore[assignment]  # pickle finds a class by its name
        return self.__reduce_ex__(protocol)


def answer_of(queryset: QuerySet[Any], what: str) -> Any:
    """Return an answer that was loaded for all rows, None where the queryset has to ask by itself.

    Args:
        queryset: That of a related manager.
        what: `"rows"`, `"count"` or `"exists"`.
    """
    question: Question | None = getattr(queryset, "question", None)
    if question is None or queryset._result_cache is not None:  # noqa: SLF001  # no public name
        return None
    return getattr(question, what)()


@cache
def whole_relation(queryset_class: type[QuerySet[Any]]) -> type[WholeRelation]:
    """Return the class of all rows of a relation whose manager makes querysets of `queryset_class`."""
    return type(queryset_class.__name__, (WholeRelation, queryset_class), {"_plain_class": queryset_class})


def cache_name(manager: Any) -> str:
    """Return under which name Django keeps on an instance what was prefetched of a manager's relation."""
    name: str | None = getattr(manager, "prefetch_cache_name", None)
    return manager.field.remote_field.cache_name if name is None else name


_usual_classes: Final[dict[type, type[WholeRelation]]] = {}


def usual_class(manager: Any, manager_class: Any) -> type[WholeRelation]:
    """Return the class for the querysets that a related manager makes, learnt from its first one."""
    found = _usual_classes.get(manager_class)
    if found is None:
        plain: Any = type(super(manager_class, manager).get_queryset())
        found = _usual_classes[manager_class] = whole_relation(plain)
    return found


def install_manager(descriptor: Any, name: str) -> None:
    """Have the managers that a descriptor makes answer for all rows, where an instance has peers.

    Called once more, it does nothing.
    """
    known: Any = descriptor.related_manager_cls
    if hasattr(known, "perfkit_autoloads"):
        return

    class AutoloadRelatedManager(known):  # type: ignore[misc]  # made at run time
        perfkit_autoloads = True
        asks_alone = False

        def get_queryset(self) -> QuerySet[Any]:
            """Return the rows of the relation, or those that were prefetched."""
            instance = self.instance
            if ATTRIBUTE not in instance._state.__dict__ or self.asks_alone or instance.pk is None:
                return super().get_queryset()  # type: ignore[no-any-return]
            if cache_name(self) in getattr(instance, "_prefetched_objects_cache", ()):
                return super().get_queryset()  # type: ignore[no-any-return]
            queryset: Any = object.__new__(usual_class(self, known))
            queryset.__dict__ = {
                "question": Question(self, super(known, self).get_queryset, name),
                "made_from": self._filtered,
                "_result_cache": None,
                "_prefetch_done": False,
                "_prefetch_related_lookups": (),
            }
            return queryset  # type: ignore[no-any-return]

        def _filtered(self) -> QuerySet[Any]:
            return self._apply_rel_filters(super(known, self).get_queryset())  # type: ignore[no-any-return]

        def count(self) -> int:
            """Return how many rows there are; many-to-many managers do not ask their queryset."""
            return self._answer("count", super().count)  # type: ignore[no-any-return]

        def exists(self) -> bool:
            """Return whether there is any row; likewise."""
            return self._answer("exists", super().exists)  # type: ignore[no-any-return]

        def _answer(self, what: str, ask: Callable[[], Any]) -> Any:
            found = answer_of(self.get_queryset(), what)
            if found is not None:
                return found
            self.asks_alone = True
            try:
                return ask()
            finally:
                self.asks_alone = False

    AutoloadRelatedManager.__name__ = known.__name__
    AutoloadRelatedManager.__qualname__ = known.__qualname__
    descriptor.__dict__["related_manager_cls"] = AutoloadRelatedManager
