"""Room tasks: jobs beside bare Celery tasks and procrastinate's, under real workers, also such that are killed."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.cache_server import cache_server
from benchmarks.figures import Report
from benchmarks.queued import effects
from benchmarks.queued.kept import kept
from benchmarks.queued.killed import killed
from benchmarks.queued.layer import JOB, PEER, TASK, layer
from benchmarks.queued.place import Place
from benchmarks.queued.prompts import prompts
from benchmarks.queued.recovery import recovery
from tests.plugins.valkey import DisposableValkey

PEERS: Final = ("celery", "procrastinate")
CACHE_DATABASE: Final = 9


def measure(*, is_quick: bool, jobs: int | None = None) -> Report:
    """Measure what the layer of jobs costs, and what it holds.

    A turn of the layer leaves some hundred rows; all ways have the same function, Celery configuration, worker
    of one process and connections that are kept.

    Args:
        jobs: How many are run under kills.
    """
    logging.getLogger("perfkit.queries").disabled = True
    jobs = jobs or (1_000 if is_quick else 10_000)
    rounds, turns, a_turn = (3, 6, 100) if is_quick else (9, 40, 200)
    effects.make()
    with cache_server([CACHE_DATABASE]) as server, _broker() as broker, tempfile.TemporaryDirectory() as name:
        place = Place(broker, server.url(CACHE_DATABASE), Path(name))
        with place.client() as client:
            client.ask(do="migrate")
        sections = [
            layer(place, "one row", ways=(TASK, JOB, PEER), jobs=a_turn, rounds=turns, goal=0.5),
            layer(
                place,
                "one row, commits wait for the disk",
                ways=(TASK, JOB),
                jobs=a_turn,
                rounds=rounds,
                variables={"COMMITS": "on"},
            ),
            layer(
                place,
                "one row, each task connects anew",
                ways=(TASK, JOB),
                jobs=a_turn,
                rounds=rounds,
                variables={"RECONNECTS": "1"},
            ),
            kept(place, rounds=rounds),
            prompts(place, rounds=rounds),
            recovery(place, rounds=rounds),
            killed(place, jobs=jobs),
        ]
        version = server.version
    lines: list[tuple[str, ...]] = [("", "", "")]
    return Report(
        "tasks",
        f"{'A quick run: ' if is_quick else ''}{version} as the broker and the cache, workers of one process, "
        "commits that do not wait for the disk where it is not said; "
        f"medians of {turns} interleaved rounds of {a_turn:,} jobs, of {rounds} where it is not the first table; "
        f"{jobs:,} jobs under kills.",
        lines + [line for section in sections for line in section.lines],
        [figure for section in sections for figure in section.figures],
    )


@contextmanager
def _broker() -> Iterator[str]:
    server = DisposableValkey()
    server.start()
    try:
        yield server.url
    finally:
        server.stop()
