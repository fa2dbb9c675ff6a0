"""Cache warming as a Celery task."""

from __future__ import annotations

from typing import Any

from celery import Task, shared_task
from celery.exceptions import SoftTimeLimitExceeded

from perfkit.caching.warming.runs import WarmResult, warm
from perfkit.errors import WarmingError
from perfkit.tasks.progress import PacedProgress


@shared_task(name="perfkit.warm_cache", bind=True)
def warm_cache(
    self: Task[..., Any], names: list[str] | None = None, *, force: bool = False, jobs: int = 1
) -> list[dict[str, Any]]:
    """Warm the cache by the registered warmers, and tell the progress.

    May run twice without harm, as its preset (late acknowledgement) needs: what is stored already is left alone.

    Args:
        self: The running task.
        names: Warmers by name; all where it is None.
        force: Make anew what the cache has already.
        jobs: Threads, each with connections of its own.

    Returns:
        For each warmer its name, the entries it wanted and stored, those that held already, the bytes of what was
        stored, and the seconds it took.

    Raises:
        UnknownWarmerError: No warmer has one of the names; nothing was warmed.
        WarmingError: A warmer failed; all others have done their work.
        SoftTimeLimitExceeded: The time was not enough; what was stored until then stays.
    """
    tell = PacedProgress(self)
    results = warm(
        names,
        force=force,
        jobs=jobs,
        progress=lambda name, current, total: tell(current, total, name),
        stop_on=(SoftTimeLimitExceeded,),
    )
    failures = [f"{result.name}: {result.error}" for result in results if result.error]
    if failures:
        raise WarmingError(failures, len(results))
    return list(map(_as_dict, results))


def _as_dict(result: WarmResult) -> dict[str, Any]:
    return {
        "name": result.name,
        "wanted": result.wanted,
        "entries": result.entries,
        "held": result.held,
        "size_bytes": result.size_bytes,
        "seconds": result.seconds,
    }
