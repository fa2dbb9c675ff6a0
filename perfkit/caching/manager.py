"""`CachedManager`: a manager whose reads are answered from the cache, and are never stale."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from functools import cache
from typing import Any, Final, TypeVar

from asgiref.sync import sync_to_async
from django.core import checks
from django.db import DEFAULT_DB_ALIAS, models, router
from django.db.models import Model, QuerySet

from perfkit.caching.queryset import DEFAULT, CachedQuerySet, checked_ttl
from perfkit.caching.registry import TrackedModel, UniqueColumn, declarable, declare, track, why_not
from perfkit.caching.rows import read_one
from perfkit.caching.sources import name_tables
from perfkit.caching.tags import PrimaryKey
from perfkit.caching.unique import read_by_unique, remember_key
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
        by: Fields by whose values lists are asked for, such as a foreign key.
            `filter(tzone="UTC")` then depends on the rows with that value alone,
            and a write to others of the table leaves its answer in the cache.
            On PostgreSQL, a save or a delete of a row finds out its former values in the same transaction.
        tables: Names of other tables and views under which rows of the model are written: those behind a view,
            partitions, a view of it that is written through; a `*` at the end stands for any rest of a name.
            Whatever is written to one of them may have changed any row of the model.
            An empty list says that there are none, where the model is of a view or a foreign table.

    Queries:
        `get(pk=…)`, or by a unique field, whose answer depends on that one row: none on a hit, one on a miss.
        Other reads likewise; theirs depend on all rows of the tables they look into.
        At most once a second one more looks into the outbox.

    Example:
        class Airport(models.Model):
            objects = CachedManager(ttl=7200, by=["tzone"])

        Airport.objects.get(pk="JFK")
        Airport.objects.filter(tzone="America/New_York").order_by("code")[:20]
        Airport.objects.uncached().get(pk="JFK")
    """

    _queryset_class: type[QuerySet[Any]] = CachedQuerySet

    _known: tuple[type[Model], TrackedModel | None] | None = None
    """How rows of a model are cached by their keys, decided at the first `get`."""

    def __init__(
        self, *, ttl: int | None = None, by: Sequence[str] = (), tables: Sequence[str] | None = None
    ) -> None:
        super().__init__()
        self.ttl = None if ttl is None else checked_ttl(ttl)
        if isinstance(by, str):
            raise TypeError(f"by is a list of names of fields, such as [{by!r}], not {by!r}.")
        self.by = tuple(by)
        if isinstance(tables, str):
            raise TypeError(f"tables is a list of names of tables, such as [{tables!r}], not {tables!r}.")
        self.tables = None if tables is None else tuple(tables)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Have the querysets of `CachedManager.from_queryset(Own)` cached too."""
        super().__init_subclass__(**kwargs)
        own = cls._queryset_class
        if not issubclass(own, CachedQuerySet):
            cls._queryset_class = type(own.__name__, (own, CachedQuerySet), {"__module__": own.__module__})

    def contribute_to_class(self, cls: type[Model], name: str) -> None:
        """Take part in `cls`, and have its writes watched once all models are loaded."""
        super().contribute_to_class(cls, name)
        if self.tables is not None:
            name_tables(cls, self.tables)
        declare(cls, self.by)

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
        """Return the one row that matches; by primary key or a unique field it depends on that row only."""
        tracked = None if args or len(kwargs) != 1 else self._tracked()
        if tracked is None:
            return self.get_queryset().get(*args, **kwargs)
        [(name, value)] = kwargs.items()
        if name == "pk" or name == tracked.pk_name:  # noqa: PLR1714  # a set would be made each time
            pk = tracked.to_pk(value)
            if pk is None:
                return self.get_queryset().get(pk=value)
            row: M | None = read_one(tracked, pk, alias=self._alias, ttl_seconds=self._seconds)
            if row is None:
                missing = f"{self.model._meta.object_name} matching query does not exist."
                raise self.model.DoesNotExist(missing)  # type: ignore[attr-defined]
            return row
        column = tracked.unique.get(name)
        key = None if column is None else column.to_key(value)
        if column is None or key is None:
            return self.get_queryset().get(**kwargs)
        return self._get_by_unique(tracked, column, key, kwargs)

    def _get_by_unique(
        self, tracked: TrackedModel, column: UniqueColumn, key: PrimaryKey, asked: dict[str, Any]
    ) -> M:
        alias = self._alias
        row: M | None = read_by_unique(tracked, column, key, alias=alias, ttl_seconds=self._seconds)
        if row is None:
            row = self.get_queryset().get(**asked)
            remember_key(tracked, column, key, alias=alias, pk=row.pk)
        return row

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
        messages += [
            checks.Error(
                f"{self.model._meta.label}.{self.name} divides its lists by {name!r}, "
                f"{_why_not_by(self.model, name)}.",
                hint="Name integers, texts without a collation, dates, booleans, UUIDs, or foreign keys to such.",
                obj=self.model,
                id="perfkit.E102",
            )
            for name in self.by
            if declarable(self.model, name) is None
        ]
        return messages

    @property
    def _ttl_seconds(self) -> int:
        if self.ttl is not None:
            return self.ttl
        default: Any = self.model._default_manager  # a related manager is made without arguments
        ttl: int | None = getattr(default, "ttl", None) if isinstance(default, CachedManager) else None
        return DEFAULT if ttl is None else ttl

    @property
    def _alias(self) -> str:
        """The database that is read, as `db` says; what nobody decides is not asked about."""
        is_usual = self._db is None and not self._hints and not router.routers  # type: ignore[attr-defined]  # missing in the stubs
        return DEFAULT_DB_ALIAS if is_usual else self.db

    @property
    def _seconds(self) -> int:
        return self.ttl or options.CACHE_DEFAULT_TTL

    def _tracked(self) -> TrackedModel | None:
        """Return how the model is tracked; None where it cannot be, or this manager has rows of its own."""
        known = self._known
        if known is None or known[0] is not self.model:  # Django copies managers for other models
            cls: Any = type(self)
            # A related manager, or one with a filter, has not every row in its reach.
            tracked = track(self.model) if _reads_all_rows(cls) else None
            known = self._known = (
                self.model,
                tracked if isinstance(tracked, TrackedModel) else None,
            )
        return known[1]


def _why_not_by(model: type[Model], name: str) -> str:
    names = [field.name for field in model._meta.concrete_fields]
    if name in names:
        return "whose values cannot name rows"
    nearest = get_close_matches(name, names, n=1)
    return "which is not a field of it" + (f"; did you mean {nearest[0]!r}?" if nearest else "")


@cache
def _reads_all_rows(manager: type[models.Manager[Any]]) -> bool:
    """Say whether `get` means what it means to Django, of all rows of the model."""
    if manager.get_queryset is not CachedManager.get_queryset:
        return False
    queryset_class: type[QuerySet[Any]] = manager._queryset_class  # type: ignore[attr-defined]  # noqa: SLF001
    parts = [part for part in queryset_class.__mro__ if part not in CachedQuerySet.__mro__]
    return all((QUERYSET_NAMES - HARMLESS).isdisjoint(vars(part)) for part in parts)
