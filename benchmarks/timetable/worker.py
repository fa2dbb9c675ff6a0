"""`python -m benchmarks.timetable.worker`: one entrant, told over a pipe what to do and how often."""

from __future__ import annotations

import gc
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from hashlib import sha256
from itertools import count
from multiprocessing import get_context
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import django
from django.db import connection
from django.db.models import Model
from django.utils.module_loading import import_string

from benchmarks.rounds import TURN_SECONDS
from benchmarks.workers import Once, serve

if TYPE_CHECKING:
    from multiprocessing.queues import Queue

    from benchmarks.timetable.jobs import Job

PATIENCE_SECONDS: Final = 30


def main() -> None:
    """Answer until nobody asks any more."""
    django.setup()
    from benchmarks.timetable import functions, jobs
    from benchmarks.timetable.settings import REQUEST

    all_jobs = {**jobs.JOBS, **functions.JOBS}
    request = import_string(REQUEST)
    numbers: defaultdict[str, Iterator[int]] = defaultdict(lambda: count(1))

    def answer(message: dict[str, Any]) -> dict[str, Any]:
        with request():  # one for all calls of a turn
            return done(message)

    def done(message: dict[str, Any]) -> dict[str, Any]:
        name = message["job"]
        job = all_jobs[name]
        match message["do"]:
            case "prepare":
                job.prepare(message["amount"])
                gc.collect()
                gc.freeze()  # what lives now need not be looked through during the turns
                return {}
            case "once":
                return once(job)._asdict()
            case "turn":
                return {"seconds": turn(job, numbers[name], calls=message["calls"])}
            case "together":
                return {"queries": together(job, message["processes"])}
            case other:
                raise ValueError(other)

    serve(answer)


def timed(job: Job, number: int) -> float:
    """Return the seconds that one call takes."""
    job.disturb(number)
    started = time.perf_counter()
    job.run(number)
    return time.perf_counter() - started


def turn(job: Job, numbers: Iterator[int], *, calls: int) -> float:
    """Return the median seconds of a call, of so many at least, and of as many as `TURN_SECONDS` have room for."""
    end = time.perf_counter() + TURN_SECONDS
    seconds: list[float] = []
    while len(seconds) < calls or time.perf_counter() < end:
        seconds.append(timed(job, next(numbers)))
    return median(seconds)


def once(job: Job) -> Once:
    """Do the call that no turn does, number 0, and tell of it."""
    returned: list[object] = []
    job.disturb(0)
    started = time.perf_counter()
    queries = queries_of(lambda: returned.append(job.run(0)))
    return Once(queries, time.perf_counter() - started, digest(returned[0]))


def queries_of(call: Callable[[], object]) -> int:
    """Return how many statements `call` sends to the database."""
    sent = 0

    def note(execute: Callable[..., Any], *arguments: Any) -> Any:
        nonlocal sent
        sent += 1
        return execute(*arguments)

    with connection.execute_wrapper(note):
        call()
    return sent


def digest(answer: object) -> str:
    """Return what is the same for two rows, or lists of rows, whose values and joined rows are the same."""
    return sha256(repr(_plain(answer)).encode()).hexdigest()


def _plain(answer: Any) -> object:
    if isinstance(answer, list):
        return [_plain(row) for row in answer]
    if not isinstance(answer, Model):
        return answer
    values = [getattr(answer, field.attname) for field in answer._meta.concrete_fields]
    joined = answer._state.fields_cache
    return [values, [(name, _plain(joined[name])) for name in sorted(joined)]]


def together(job: Job, processes: int) -> int:
    """Have so many copies of this process do a job once at the same moment; return how many statements they send.

    This process must not have opened a connection yet, for its copies would share it.
    """
    context = get_context("fork")
    start = context.Barrier(processes)
    sent: Queue[int] = context.Queue()

    def run() -> None:
        job.prepare(0)
        start.wait(PATIENCE_SECONDS)
        sent.put(queries_of(lambda: job.run(0)))

    copies = [context.Process(target=run) for _ in range(processes)]
    for copy in copies:
        copy.start()
    queries = sum(sent.get(timeout=PATIENCE_SECONDS) for _ in copies)
    for copy in copies:
        copy.join()
    return queries


if __name__ == "__main__":
    main()
