"""`CachedManager`: a manager whose `get(pk=…)` is answered from the cache, and is never stale."""

from __future__ import annotations

from typing import Any, Final, TypeVar

from asgiref.sync import sync_to_async
from django.core import checks
from django.db import models
from django.db.models import Model, QuerySet, query

from perfkit.caching.reads import Row, read_row
from perfkit.caching.registry import TrackedModel, declare, track, why_not
from perfkit.caching.tags import PrimaryKey
from perfkit.conf import options

M = TypeVar("M", bound=Model)

FETCH_MODE: Final = getattr(query, "DEFAULT_FETCH_MODE", None)
"""What a queryset of Django 6.1 or later gives its instances; None before."""
QUERYSET_NAMES: Final = frozenset(name for part in QuerySet.__mro__[:-1] for name in vars(part))
HARMLESS: Final = frozenset(
    {"__module__", "__doc__", "__orig_bases__", "__parameters__", "__annotations__", "__annotate_func__"}
    | {"__static_attributes__", "__firstlineno__", "__type_params__"}
    | {"update", "delete", "create", "bulk_create", "bulk_update", "get_or_create", "update_or_create"}
)
"""Where a queryset class has another of Django's names, a read by primary key may mean something of its own."""


class CachedManager(models.Manager[M]):
    """Answers `get(pk=…)` from the cache; every other read goes to the database as ever.

    A read that starts after a commit has returned to its writer never yields an older value.
    Writes are seen wherever they go through Django's connection: `save()`, `delete()` with its cascades,
    `update()`, bulk methods, fixtures, raw SQL.
    What goes past it (triggers, `cursor.copy()`, other programs) is not seen.

    A read goes to the database, and stores nothing, where the cache may not be trusted:
    inside a transaction that wrote the row,
    in one that keeps a snapshot (REPEATABLE READ, SERIALIZABLE, any on SQLite),
    from a database other than the one that takes the writes, while the cache server is down,
    and between another writer's MARK and DONE.

    Args:
        ttl: Seconds an entry lives; `PERFKIT["CACHE_DEFAULT_TTL"]` where left out.

    Queries:
        `get(pk=…)`: none on a hit and one on a miss. At most once a second one more looks into the outbox.

    Example:
        class Airport(models.Model):
            objects = CachedManager(ttl=7200)

        Airport.objects.get(pk="JFK")
    """

    def __init__(self, *, ttl: int | None = None) -> None:
        super().__init__()
        if ttl is not None and (type(ttl) is not int or ttl < 1):
            raise ValueError(f"ttl is a whole number of seconds, at least 1, not {ttl!r}.")
        self.ttl = ttl

    def contribute_to_class(self, cls: type[Model], name: str) -> None:
        """Take part in `cls`, and have its writes watched once all models are loaded."""
        super().contribute_to_class(cls, name)
        declare(cls)

    def get(self, *args: Any, **kwargs: Any) -> M:
        """Return the one row that matches; by primary key alone it may come from the cache."""
        tracked = self._tracked()
        pk = _only_pk(tracked, args, kwargs) if tracked is not None else None
        if tracked is None or pk is None:
            return self.get_queryset().get(*args, **kwargs)
        alias = self.db

        def fetch() -> Row | None:
            rows = self.using(alias).order_by().filter(pk=pk).values_list(*tracked.columns)
            return next(iter(rows), None)

        row = read_row(
            tracked, pk, alias=alias, ttl_seconds=self.ttl or options.CACHE_DEFAULT_TTL, fetch=fetch
        )
        if row is None:
            missing = f"{self.model._meta.object_name} matching query does not exist."
            raise self.model.DoesNotExist(missing)  # type: ignore[attr-defined]
        instance = self.model.from_db(alias, tracked.columns, row)
        if FETCH_MODE is not None:
            instance._state.fetch_mode = FETCH_MODE  # only from Django 6.1
        return instance

    async def aget(self, *args: Any, **kwargs: Any) -> M:
        """Return the one row that matches, as `get` does."""
        return await sync_to_async(self.get)(*args, **kwargs)

    def check(self, **kwargs: Any) -> list[checks.CheckMessage]:
        """Warn where the model's rows cannot be cached, so that the manager reads the database as ever."""
        messages: list[checks.CheckMessage] = super().check(**kwargs)
        reason = why_not(self.model)
        if reason and not self.model._meta.proxy:
            messages.append(
                checks.Warning(
                    f"The rows of {self.model._meta.label} cannot be cached: {reason}.",
                    hint=f"Use models.Manager for {self.model._meta.label}.{self.name}, or change the model.",
                    obj=self.model,
                    id="perfkit.W101",
                )
            )
        return messages

    def _tracked(self) -> TrackedModel | None:
        """Return how the model is tracked; None where it cannot be, or this manager has rows of its own."""
        cls = type(self)
        if cls.get_queryset is not CachedManager.get_queryset or not _reads_like_django(cls):
            return None  # a related manager, or one with a filter: not every row is in its reach
        tracked = track(self.model)
        return tracked if isinstance(tracked, TrackedModel) else None


def _only_pk(tracked: TrackedModel, args: tuple[Any, ...], kwargs: dict[str, Any]) -> PrimaryKey | None:
    """Return the primary key if the arguments of `get` name it and nothing else."""
    if args or len(kwargs) != 1:
        return None
    [(name, value)] = kwargs.items()
    if name not in {"pk", tracked.pk_name}:
        return None
    return tracked.to_pk(value)


def _reads_like_django(manager: type[models.Manager[Any]]) -> bool:
    queryset_class: type[QuerySet[Any]] = manager._queryset_class  # type: ignore[attr-defined]  # noqa: SLF001
    parts = [part for part in queryset_class.__mro__ if part not in QuerySet.__mro__]
    return all((QUERYSET_NAMES - HARMLESS).isdisjoint(vars(part)) for part in parts)
