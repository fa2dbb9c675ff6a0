"""Many jobs while workers are killed and stopped, the broker loses all it has, and messages come again."""

from __future__ import annotations

import time
from collections import Counter
from typing import Final

from django.db.models import F

from benchmarks.figures import Figure
from benchmarks.loads.scene import Section
from benchmarks.queued import effects
from benchmarks.queued.place import Place
from benchmarks.workers import Worker
from perfkit.models import Job, JobState
from tests.jobs.torture import Torture, tortured
from tests.plugins.valkey import DisposableValkey

APP: Final = "benchmarks.queued.app"
VISIBILITY_SECONDS: Final = 1
EVERY_SECONDS: Final = 0.7
AGAIN: Final = 50
"""So many jobs are delivered once more with each disturbance."""

CALM_SHARE: Final = 0.95
"""Once so many of the rows are there, nobody is disturbed any more."""

QUIET_SECONDS: Final = 30.0
"""After so long without a new row nothing more will come: Celery gives messages out again every 10 seconds."""

LONGEST_SECONDS: Final = 1800.0


def killed(place: Place, *, jobs: int) -> Section:
    """Leave rows by jobs, and by bare Celery tasks, under the same disturbances."""
    lines: list[tuple[str, ...]] = [("[under kills]", "rows", "doubles and lost")]
    figures = []
    for way, title in (("job", "perfkit jobs"), ("task", "bare Celery tasks, acknowledged late")):
        rows, told = _tortured(place, way, jobs)
        doubles, lost = sum(rows.values()) - len(rows), jobs - len(rows)
        lines.append((f"{jobs:,} {title}", f"{len(rows):,}", f"{doubles:,} and {lost:,}"))
        lines += [(f"{title}: {what}", f"{number:,}", "") for what, number in told.items()]
        is_ours = way == "job"
        figures += [
            Figure(
                f"{jobs:,} {title} under kills: rows", len(rows), "rows", jobs if is_ours else None, "higher"
            ),
            Figure(
                f"{jobs:,} {title} under kills: doubles", doubles, "rows", 0 if is_ours else None, "lower"
            ),
            Figure(f"{jobs:,} {title} under kills: lost", lost, "rows", 0 if is_ours else None, "lower"),
        ]
    return Section(lines, figures)


def _tortured(place: Place, way: str, jobs: int) -> tuple[Counter[int], dict[str, int]]:
    effects.clear()
    broker = DisposableValkey()
    broker.start()
    variables = {"BROKER": broker.url, "VISIBILITY": str(VISIBILITY_SECONDS)}
    log = place.folder / f"killed-{way}.log"
    calls = [[number, number % 7 / 500] for number in range(jobs)]
    try:
        with (
            place.client(**variables) as client,
            tortured(place.environment(**variables), broker, log, app=APP, seed=2013) as torture,
        ):
            client.ask(do="enqueue many", way=way, calls=calls)
            again = _disturb(torture, client, way, jobs)
    finally:
        broker.kill()
    told = {**torture.counts, "delivered once more": again}
    if way == "job":
        states = Counter(Job._base_manager.values_list("state", flat=True))
        told["rows of jobs that are done"] = states[JobState.DONE]
        taken = Job._base_manager.filter(fence__gt=1).values_list(F("fence") - 1, flat=True)
        told["runs beyond the first of each"] = sum(taken)
    return effects.by_number(), told


def _disturb(torture: Torture, client: Worker, way: str, jobs: int) -> int:
    """Disturb until nearly all is done, then wait for the end; return how many were delivered once more."""
    again, rows, since = 0, 0, time.monotonic()
    deadline, next_at = since + LONGEST_SECONDS, since + 2.0
    while not _is_over(way, since):
        if time.monotonic() > deadline:
            raise effects.NoProgressError(f"After {LONGEST_SECONDS:.0f} seconds there are {rows} rows.")
        time.sleep(0.1)
        torture.resume()
        found = effects.count()
        if found != rows:
            rows, since = found, time.monotonic()
        if (
            time.monotonic() > next_at
            and rows < CALM_SHARE * jobs
            and time.monotonic() - since < QUIET_SECONDS / 2
        ):
            torture.disturb()
            if way == "job":
                again += client.ask(do="again", count=AGAIN)["sent"]
            next_at = time.monotonic() + EVERY_SECONDS
    return again


def _is_over(way: str, since: float) -> bool:
    if way == "job":
        return not Job._base_manager.filter(state__in=[JobState.QUEUED, JobState.RUNNING]).exists()
    return time.monotonic() - since > QUIET_SECONDS
