"""Jobs that are ready to use: each may be run at any time, any number of times, by hand or by a schedule."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import Any, Final

from django.apps import apps
from django.conf import settings
from django.core.exceptions import FieldDoesNotExist
from django.db import models, router
from django.utils import timezone
from django.utils.module_loading import import_string

from perfkit.bulk import bulk_delete
from perfkit.caching.control import drain, invalidate, tags_named
from perfkit.caching.functions.cached import BoundFunction, CachedFunction
from perfkit.caching.query_functions import CachedQuery
from perfkit.caching.warming.runs import WarmResult, refresh, warm
from perfkit.errors import (
    CacheUnreachableError,
    JobArgumentError,
    JobCancelledError,
    JobFencedError,
    WarmingError,
)
from perfkit.jobs.backends import current_backend
from perfkit.jobs.control import purgeable, removed_in_chunks
from perfkit.jobs.declared import job
from perfkit.jobs.runs import current_run
from perfkit.models import IdempotentAnswer, PendingImport

CHUNK_ROWS: Final = 1000
IMPORTS_KEPT: Final = dt.timedelta(days=1)


def _key_of_warming(names: list[str] | None, *, force: bool, **_: Any) -> str:
    return f"{','.join(sorted(names or []))}:{'anew' if force else ''}"


@job(
    name="perfkit.warm_cache",
    key=_key_of_warming,
    reuse=False,
    atomic=False,
    progress=True,
    shown=["names", "force"],
)
def warm_cache(
    names: list[str] | None = None,
    *,
    force: bool = False,
    threads: int = 1,
    progress: Callable[[int, int, str], None],
) -> list[dict[str, Any]]:
    """Warm the cache by the registered warmers.

    Args:
        names: Warmers by name; all where it is None.
        force: Make anew what the cache has already.
        threads: Each with connections of its own.

    Returns:
        For each warmer its name, the entries it wanted and stored, those that held already, the bytes of what was
        stored, and the seconds it took.

    Raises:
        UnknownWarmerError: No warmer has one of the names; nothing was warmed.
        WarmingError: A warmer failed; all others have done their work.
    """
    results = warm(
        names,
        force=force,
        jobs=threads,
        progress=lambda name, current, total: progress(current, total, name),
        stop_on=(*current_backend().limit_errors, JobCancelledError, JobFencedError),
    )
    return _checked(results)


@job(name="perfkit.refresh_entry", atomic=False, retries=3, retry_on=[WarmingError], shown=["of"])
def refresh_entry(
    of: str, args: list[Any] | None = None, kwargs: dict[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Make one entry of the cache anew, before it ends or is asked for.

    Args:
        of: The dotted name of a cached function or a cached query, or the label of a model with a `CachedManager`,
            such as `flights.Airport`, of which `args` has the primary key of a row.
        args, kwargs: Of the call.

    Raises:
        JobArgumentError: It is none of these.
        WarmingError: It could not be made or kept.
    """
    return _checked([refresh(of, _wanted(of, args or [], kwargs or {}))])


@job(name="perfkit.invalidate", atomic=False, retries=5, retry_on=[CacheUnreachableError], shown=["names"])
def invalidate_names(names: list[str]) -> int:
    """Void what depends on models and tags, for every process.

    Args:
        names: As those of `manage.py perfkit_cache invalidate`: `flights.Airport`, `tag:NAME`, `key:PATTERN`.

    Returns:
        How many tags these stand for.

    Raises:
        UnknownTagError: One of them stands for nothing; none is voided.
    """
    tags = frozenset[str]().union(*(tags_named(name) for name in names))
    invalidate(tags)
    return len(tags)


@job(
    name="perfkit.drain_outbox",
    key="drain",
    reuse=False,
    atomic=False,
    retries=3,
    retry_on=[CacheUnreachableError],
)
def drain_outbox() -> list[str]:
    """Tell the cache server what waits in the outboxes, which else the next reader does.

    Returns:
        The aliases of the databases that have one.
    """
    return drain()


@job(name="perfkit.clean_up", key="clean_up", reuse=False)
def clean_up() -> Generator[dict[str, int], None, dict[str, int]]:
    """Remove what perfkit itself keeps for a while, 1,000 rows a step: ended jobs, answers, forgotten imports.

    Dead letters stay, for only people know what to do with them: `manage.py perfkit_jobs purge --dead`.

    Returns:
        How many rows of each kind.
    """
    imports = PendingImport._base_manager.using(router.db_for_write(PendingImport))
    answers = IdempotentAnswer._base_manager.using(router.db_for_write(IdempotentAnswer))
    kinds: dict[str, models.QuerySet[Any]] = {
        "jobs": purgeable(),
        "answers": answers.filter(created_at__lt=IdempotentAnswer.oldest()).order_by("created_at", "pk"),
        "imports": imports.filter(created_at__lt=timezone.now() - IMPORTS_KEPT).order_by("created_at", "pk"),
    }
    removed: dict[str, int] = dict.fromkeys(kinds, 0) | (_checkpoint() or {})
    for kind, rows in kinds.items():
        for number in removed_in_chunks(rows):
            removed[kind] += number
            yield removed
    return removed


@job(
    name="perfkit.delete_old_rows",
    key="{model}:{field}:{days}",
    reuse=False,
    shown=["model", "field", "days", "chunk_rows"],
)
def delete_old_rows(
    model: str, field: str, days: float, *, chunk_rows: int = CHUNK_ROWS
) -> Generator[dict[str, Any], None, dict[str, int]]:
    """Delete rows that are older than some days, oldest first, a chunk a step: logs, sessions, events.

    It is Django's delete, with signals and cascades, and goes on where it was stopped.
    Rows that others protect, or that the database keeps, are stepped over; the next job tries them again.
    With an index on the field a chunk costs the same however many rows are left.

    Args:
        model: Its label, such as `flights.ActivityLog`.
        field: A date or a date and time.
        days: What is younger stays.
        chunk_rows: Deleted in one transaction.

    Returns:
        How many rows were `deleted`, how many were `kept` though they are old, and the `total` of old ones.

    Raises:
        JobArgumentError: There is no such model or field, a number is not above 0, or is more than a calendar has.

    Queries:
        Three per chunk, one more where some stay, and those of Django's cascades;
        for each protected row as many as it takes to find it.
    """
    rows = _old_rows(model, field, days, chunk_rows)
    checkpoint = _checkpoint() or {"deleted": 0, "kept": 0, "total": rows.count(), "after": None}
    told: dict[str, int] = {name: checkpoint[name] for name in ("deleted", "kept", "total")}
    after: list[Any] | None = checkpoint["after"]
    while chunk := list(_rows_after(rows, field, after).values_list(field, "pk")[:chunk_rows]):
        pks = [pk for _, pk in chunk]
        deleted = _deleted(rows, pks)
        told["deleted"] += deleted
        told["kept"] += rows.filter(pk__in=pks).count() if deleted < len(pks) else 0
        told["total"] = max(told["total"], told["deleted"] + told["kept"])
        after = _place(*chunk[-1])
        run = current_run()
        if run is not None:
            run.progress(told["deleted"] + told["kept"], told["total"], model)
        yield {**told, "after": after}
    return told


def _place(moment: dt.date, pk: Any) -> list[Any]:
    """Return what JSON can hold of where a row stands; a key may have several parts."""
    return [moment.isoformat(), [str(part) for part in pk] if isinstance(pk, tuple) else str(pk)]


def _rows_after(rows: models.QuerySet[Any], field: str, after: Sequence[Any] | None) -> models.QuerySet[Any]:
    """Return the rows that come after a place, by the field and the primary key."""
    if after is not None:
        moment, pk = rows.model._meta.get_field(field).to_python(after[0]), after[1]
        # The condition on the field alone is one that an index of the field serves.
        rows = rows.filter(
            models.Q(**{f"{field}__gt": moment}) | models.Q(pk__gt=tuple(pk) if isinstance(pk, list) else pk),
            **{f"{field}__gte": moment},
        )
    return rows.order_by(field, "pk")


def _deleted(rows: models.QuerySet[Any], pks: list[Any]) -> int:
    """Delete rows by their keys, all but those that others protect; return how many are gone."""
    try:
        result = bulk_delete(rows.model, pks, using=rows.db)
    except (models.ProtectedError, models.RestrictedError):
        if len(pks) == 1:
            return 0
        middle = len(pks) // 2
        return _deleted(rows, pks[:middle]) + _deleted(rows, pks[middle:])
    # Cascades may have deleted others of the same model.
    return min(len(pks), result.deleted_by_model.get(rows.model._meta.label, 0))


def _checkpoint() -> Any:
    run = current_run()
    return None if run is None else run.checkpoint


def _checked(results: list[WarmResult]) -> list[dict[str, Any]]:
    failures = [f"{result.name}: {result.error}" for result in results if result.error]
    if failures:
        raise WarmingError(failures, len(results))
    return [
        {
            "name": result.name,
            "wanted": result.wanted,
            "entries": result.entries,
            "held": result.held,
            "size_bytes": result.size_bytes,
            "seconds": result.seconds,
        }
        for result in results
    ]


def _wanted(of: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
    try:
        model = apps.get_model(of)
    except (LookupError, ValueError):
        pass
    else:
        return model._default_manager.filter(pk__in=args)
    try:
        function = import_string(of)
    except ImportError as error:
        raise JobArgumentError(refresh_entry.name, f"{of!r} is no model, and cannot be imported.") from error
    if not isinstance(function, CachedFunction | BoundFunction | CachedQuery):
        raise JobArgumentError(refresh_entry.name, f"{of!r} is no cached function, nor a cached query.")
    return partial(function, *args, **kwargs)


def _old_rows(label: str, field: str, days: float, chunk_rows: int) -> models.QuerySet[Any]:
    name = delete_old_rows.name
    try:
        model = apps.get_model(label)
        found = model._meta.get_field(field)
    except (LookupError, ValueError) as error:
        raise JobArgumentError(name, f"there is no model {label!r}.") from error
    except FieldDoesNotExist as error:
        raise JobArgumentError(name, f"{label} has no field {field!r}.") from error
    if not isinstance(found, models.DateField):
        raise JobArgumentError(name, f"{label}.{field} holds no dates.")
    if not days > 0 or not chunk_rows > 0:
        raise JobArgumentError(name, "days and chunk_rows must be above 0.")
    now = timezone.now()
    today = timezone.localdate(now) if settings.USE_TZ else now.date()
    try:
        age = dt.timedelta(days=days)
        before = now - age if isinstance(found, models.DateTimeField) else today - age
    except OverflowError as error:
        raise JobArgumentError(name, f"no calendar goes back {days} days.") from error
    rows: models.QuerySet[Any] = model._base_manager.using(router.db_for_write(model))
    return rows.filter(**{f"{field}__lt": before})
