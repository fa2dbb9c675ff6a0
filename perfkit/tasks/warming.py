"""Cache warming as a Celery task."""

from __future__ import annotations

from typing import Any

from celery import Task, shared_task

from perfkit.caching.warming import warm
from perfkit.errors import WarmingError
from perfkit.tasks.progress import PacedProgress


@shared_task(name="perfkit.warm_cache", bind=True)
def warm_cache(self: Task[..., Any], names: list[str] | None = None) -> list[dict[str, Any]]:
    """Warm the cache by the registered warmers, and tell the progress.

    May run twice without harm, as its preset (late acknowledgement) needs.

    Args:
        self: The running task.
        names: Warmers by name; all where it is None.

    Returns:
        For each warmer its name, the entries it stored and the seconds it took.

    Raises:
        UnknownWarmerError: No warmer has one of the names; nothing was warmed.
        WarmingError: A warmer failed; all others have done their work.
    """
    tell = PacedProgress(self)
    results = warm(names, progress=lambda name, current, total: tell(current, total, name))
    failures = [f"{result.name}: {result.error}" for result in results if result.error]
    if failures:
        raise WarmingError(failures, len(results))
    return [{"name": result.name, "entries": result.entries, "seconds": result.seconds} for result in results]
