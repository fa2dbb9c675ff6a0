"""What a job costs beyond a bare Celery task that does the same, from the call to the row it leaves.

Three things are measured of each way, with one worker of one process.
Enqueued: the time of a call while the worker waits.
Run: the time between two rows, while the worker works on what was enqueued before.
End to end: from the first call to the last row by their number, while the worker works from the first on.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping
from contextlib import ExitStack
from statistics import median
from typing import Final

from benchmarks.figures import Figure, number
from benchmarks.loads.scene import Section
from benchmarks.queued import effects
from benchmarks.queued.place import CELERY_WORKER, PEER_WORKER, Place
from benchmarks.workers import Worker

JOB: Final = "job"
TASK: Final = "task"
PEER: Final = "peer"
TITLES: Final = {TASK: "bare Celery task", JOB: "perfkit job", PEER: "procrastinate job"}
STAGES: Final = {"enqueued": "enqueued", "run": "run", "end to end": "end to end, a worker runs meanwhile"}
GOAL_MS: Final = 0.5

Times = defaultdict[tuple[str, str], list[float]]
"""Seconds of one job, by way and stage, one of each round."""


def layer(
    place: Place,
    title: str,
    *,
    ways: tuple[str, ...],
    jobs: int,
    rounds: int,
    goal: float | None = None,
    variables: Mapping[str, str] = {},
) -> Section:
    """Measure the ways in turns.

    Args:
        jobs: In one turn.
        goal: Milliseconds end to end beyond a bare task.
        variables: Of the environment of client and workers.
    """
    times: Times = defaultdict(list)
    order, dice = list(ways), random.Random(2013)
    with ExitStack() as stack:
        client = stack.enter_context(place.client(**variables))
        stack.enter_context(place.working(CELERY_WORKER, **variables))
        if PEER in ways:
            stack.enter_context(place.working(PEER_WORKER, **variables))
        client.ask(do="await workers", number=1)
        for turn in range(rounds + 1):
            dice.shuffle(order)
            for way in order:
                found = _turn(client, way, jobs)
                if turn:  # the first warms
                    for stage, seconds in found.items():
                        times[way, stage].append(seconds)
    return _section(title, ways, times, goal)


def _turn(client: Worker, way: str, jobs: int) -> dict[str, float]:
    effects.clear()
    with effects.gate(lambda: client.ask(do="hold", way=way)):
        enqueued = client.ask(do="enqueue", way=way, count=jobs)["seconds"]
    effects.wait_until(lambda: effects.count() == jobs)
    first, last = effects.span()
    effects.clear()
    began = client.ask(do="enqueue", way=way, count=jobs)["began"]
    effects.wait_until(lambda: effects.count() == jobs)
    _, end = effects.span()
    return {"enqueued": enqueued, "run": (last - first) / (jobs - 1), "end to end": (end - began) / jobs}


def _section(title: str, ways: tuple[str, ...], times: Times, goal: float | None) -> Section:
    lines: list[tuple[str, ...]] = [(f"[{title}]", "ms a job", "ms beyond a bare task")]
    figures = []
    for stage, told in STAGES.items():
        for way in ways:
            mine = times[way, stage]
            beyond = 1e3 * median(own - its for own, its in zip(mine, times[TASK, stage], strict=True))
            lines.append(
                (f"{told}: {TITLES[way]}", number(1e3 * median(mine)), "" if way == TASK else number(beyond))
            )
            if way != TASK:
                is_aim = way == JOB and stage == "end to end"
                name = f"{title}, {told}: {TITLES[way]} beyond a bare Celery task"
                figures.append(Figure(name, beyond, "ms", goal if is_aim else None, "lower"))
    both = 1e3 * median(
        sum(times[JOB, stage][turn] - times[TASK, stage][turn] for stage in ("enqueued", "run"))
        for turn in range(len(times[JOB, "run"]))
    )
    name = f"{title}, enqueued and then run, one after the other: {TITLES[JOB]} beyond a bare Celery task"
    figures.append(Figure(name, both, "ms", None, "lower"))
    return Section(lines, figures)
