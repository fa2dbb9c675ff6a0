"""`CachedManager`: a manager whose reads are answered from the cache, and are never stale."""

from __future__ import annotations

from typing import Any, Final, TypeVar

from asgiref.sync import sync_to_async
from django.core import checks
from django.db import models
from django.db.models import Model, QuerySet

from perfkit.caching.queryset import DEFAULT, CachedQuerySet, checked_ttl
from perfkit.caching.registry import TrackedModel, declare, track, why_not
from perfkit.caching.rows import read_one
from perfkit.caching.tags import PrimaryKey
from perfkit.conf import options

M = TypeVar("M", bound=Model)

QUERYSET_NAMES: Final = frozenset(name for part in QuerySet.__mro__[:-1] for name in vars(part))
HARMLESS: Final = frozenset(
    {"__module__", "__doc__", "__orig_bases__", "__parameters__", "__annotations__", "__annotate_func__"}
    | {"__static_attributes__", "__firstlineno__", "__type_params__"}
    | {"update", "delete", "create", "bulk_create", "bulk_update", "get_or_create", "update_or_create"}
)
"""Where a queryset class has another of Django's names, a read by primary key may mean something of its own."""


class CachedManager(models.Manager[M]):
    """A manager of `CachedQuerySet`s: what it reads comes from the cache.

    A read that starts after a commit has returned to its writer never yields an older value.
    Writes are seen wherever they go through Django's connection: `save()`, `delete()` with its cascades,
    `update()`, bulk methods, many-to-many relations, fixtures, raw SQL.
    What goes past it (triggers, `cursor.copy()`, other programs) is not seen.

    A read goes to the database, and stores nothing, where the cache may not be trusted:
    inside a transaction that wrote a table it looks into,
    in one that keeps a snapshot (REPEATABLE READ, SERIALIZABLE, any on SQLite),
    from a database other than the one that takes the writes, while the cache server is down,
    and between another writer's MARK and DONE.

    Args:
        ttl: Seconds an answer lives; `PERFKIT["CACHE_DEFAULT_TTL"]` where left out.

    Queries:
        `get(pk=…)`, whose answer depends on that one row: none on a hit and one on a miss.
        Other reads likewise; theirs depend on all rows of the tables they look into.
        At most once a second one more looks into the outbox.

    Example:
        class Airport(models.Model):
            objects = CachedManager(ttl=7200)

        Airport.objects.get(pk="JFK")
        Airport.objects.filter(tzone="America/New_York").order_by("code")[:20]
        Airport.objects.uncached().get(pk="JFK")
    """

    _queryset_class: type[QuerySet[Any]] = CachedQuerySet

    def __init__(self, *, ttl: int | None = None) -> None:
        super().__init__()
        self.ttl = None if ttl is None else checked_ttl(ttl)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Have the querysets of `CachedManager.from_queryset(Own)` cached too."""
        super().__init_subclass__(**kwargs)
        own = cls._queryset_class
        if not issubclass(own, CachedQuerySet):
            cls._queryset_class = type(own.__name__, (own, CachedQuerySet), {"__module__": own.__module__})

    def contribute_to_class(self, cls: type[Model], name: str) -> None:
        """Take part in `cls`, and have its writes watched once all models are loaded."""
        super().contribute_to_class(cls, name)
        declare(cls)

    def get_queryset(self) -> CachedQuerySet[M]:
        """Return a queryset that is answered from the cache."""
        queryset: Any = super().get_queryset()
        queryset._ttl_seconds = self._ttl_seconds  # noqa: SLF001  # of this room
        return queryset  # type: ignore[no-any-return]

    def cached(self, *, ttl: int | None = None) -> CachedQuerySet[M]:
        """Return all rows as a queryset whose answer is kept for `ttl` seconds; see `CachedQuerySet.cached`."""
        return self.get_queryset().cached(ttl=ttl)

    def uncached(self) -> CachedQuerySet[M]:
        """Return all rows as a queryset that is answered by the database."""
        return self.get_queryset().uncached()

    def get(self, *args: Any, **kwargs: Any) -> M:
        """Return the one row that matches; by primary key alone its answer depends on that row only."""
        tracked = self._tracked()
        pk = _only_pk(tracked, args, kwargs) if tracked is not None else None
        if tracked is None or pk is None:
            return self.get_queryset().get(*args, **kwargs)
        row = read_one(tracked, pk, alias=self.db, ttl_seconds=self.ttl or options.CACHE_DEFAULT_TTL)
        if row is None:
            missing = f"{self.model._meta.object_name} matching query does not exist."
            raise self.model.DoesNotExist(missing)  # type: ignore[attr-defined]
        return row  # type: ignore[no-any-return]

    async def aget(self, *args: Any, **kwargs: Any) -> M:
        """Return the one row that matches, as `get` does."""
        return await sync_to_async(self.get)(*args, **kwargs)

    def check(self, **kwargs: Any) -> list[checks.CheckMessage]:
        """Warn where the model's rows cannot be cached by their keys, so that `get(pk=…)` depends on all rows."""
        messages: list[checks.CheckMessage] = super().check(**kwargs)
        if self.model._meta.base_manager_name == self.name:
            messages.append(
                checks.Error(
                    f"{self.model._meta.label}.{self.name} is the base manager, by which Django reads what it is "
                    "about to write, and what refresh_from_db() returns.",
                    hint="Leave Meta.base_manager_name out, or name a models.Manager there.",
                    obj=self.model,
                    id="perfkit.E101",
                )
            )
        reason = why_not(self.model)
        if reason and not self.model._meta.proxy:
            messages.append(
                checks.Warning(
                    f"The rows of {self.model._meta.label} cannot be cached by their keys: {reason}.",
                    hint=f"Any write to the table voids every get(pk=…) of {self.model._meta.label}.{self.name}.",
                    obj=self.model,
                    id="perfkit.W101",
                )
            )
        return messages

    @property
    def _ttl_seconds(self) -> int:
        if self.ttl is not None:
            return self.ttl
        default: Any = self.model._default_manager  # a related manager is made without arguments
        ttl: int | None = getattr(default, "ttl", None) if isinstance(default, CachedManager) else None
        return DEFAULT if ttl is None else ttl

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
    parts = [part for part in queryset_class.__mro__ if part not in CachedQuerySet.__mro__]
    return all((QUERYSET_NAMES - HARMLESS).isdisjoint(vars(part)) for part in parts)
