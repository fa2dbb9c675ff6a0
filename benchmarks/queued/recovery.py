"""How soon another worker has ended what a killed one had begun."""

from __future__ import annotations

import random
import time
from statistics import median
from typing import Any, Final

from benchmarks.figures import Figure, number
from benchmarks.loads.scene import Section
from benchmarks.queued import effects
from benchmarks.queued.killed import APP
from benchmarks.queued.place import Place
from benchmarks.workers import Worker
from perfkit.models import Job, JobState
from tests.jobs.torture import TorturedWorker

RUN_SECONDS: Final = 0.5
LEASES: Final = (2, 10)
BEYOND_SECONDS: Final = 2.0
CREW: Final = 2
VISIBILITY_SECONDS: Final = 2
"""Of bare tasks; as short as the shorter lease."""
BARE_ROUNDS: Final = 2
"""They take minutes."""
PATIENCE_SECONDS: Final = 400.0


def recovery(place: Place, *, rounds: int) -> Section:
    """Kill a worker while it works, again and again, at another moment of its lease each time."""
    lines: list[tuple[str, ...]] = [("[after a worker's death]", "s, median", "s, longest")]
    figures = []
    for lease in LEASES:
        found = _killed(place, str(lease), rounds=rounds, visibility="")
        name = f"a job whose lease is {lease} s, ended by another worker"
        lines.append((name, number(median(found)), number(max(found))))
        figures.append(
            Figure(f"{name}: longest of {rounds}", max(found), "s", lease + BEYOND_SECONDS, "lower")
        )
    bare = _killed(place, "task", rounds=BARE_ROUNDS, visibility=str(VISIBILITY_SECONDS))
    name = f"a bare Celery task whose visibility timeout is {VISIBILITY_SECONDS} s, by another worker"
    lines.append((name, number(median(bare)), number(max(bare))))
    figures.append(Figure(f"{name}: longest of {BARE_ROUNDS}", max(bare), "s", None, "lower"))
    return Section(lines, figures)


def _killed(place: Place, way: str, *, rounds: int, visibility: str) -> list[float]:
    """Return the seconds from each kill to the end of the second run, without the time that this one took."""
    effects.clear()
    variables = {"VISIBILITY": visibility}
    dice = random.Random(2013)
    crew = [
        TorturedWorker(place.environment(**variables), place.folder / "recovery.log", app=APP, children=1)
        for _ in range(CREW)
    ]
    found = []
    try:
        with place.client(**variables) as client:
            for turn in range(rounds):
                pause = (
                    0.0 if way == "task" else dice.uniform(0.2, 3.0)
                )  # a visibility timeout is not renewed
                found.append(_round(client, crew, way, turn, pause=pause))
    finally:
        for worker in crew:
            worker.kill()
    return found


def _round(client: Worker, crew: list[TorturedWorker], way: str, turn: int, *, pause: float) -> float:
    job_id = client.ask(do="outlast", way=way, number=turn, seconds=RUN_SECONDS).get("id")
    if job_id is None:
        effects.wait_until(lambda: effects.by_number()[turn] == 1)
        pid = effects.worker_of(turn)
    else:
        effects.wait_until(lambda: _job(job_id).state == JobState.RUNNING)
        pid = int(_job(job_id).worker.rpartition(":")[2])
    time.sleep(pause)
    victim = next(worker for worker in crew if pid in [child.pid for child in worker.children()])
    began = effects.now()
    victim.kill()
    try:
        if job_id is None:
            effects.wait_until(lambda: effects.by_number()[turn] > 1, seconds=PATIENCE_SECONDS)
            return effects.span()[1] - began  # of a row that is written first
        effects.wait_until(lambda: _job(job_id).state == JobState.DONE)
        row = _job(job_id)
        assert row.finished_at is not None
        took: Any = row.result
        return float(row.finished_at.timestamp() - began - took)
    finally:
        victim.start()


def _job(job_id: str) -> Job:
    return Job._base_manager.get(pk=job_id)
