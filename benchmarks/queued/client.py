"""A process that enqueues, waits for results and asks a model when it is told to; see `benchmarks.workers`."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import Any, Final

import django

from benchmarks.workers import serve

if __name__ == "__main__":
    django.setup()
    logging.getLogger("perfkit.queries").disabled = True

from django.core.management import call_command  # the apps come first
from django.db import connection

from benchmarks.queued import app as celery
from benchmarks.queued import work
from perfkit.inference import ModelCache, OpenAICompatibleAdapter
from perfkit.inference.prompts import prompt_of
from perfkit.jobs import JobStatus, job_status
from perfkit.jobs.enqueueing import send
from perfkit.models import Job

BETWEEN_LOOKS_SECONDS: Final = 0.001
"""How often somebody who waits for a job asks for its state."""


def answer(message: dict[str, Any]) -> dict[str, Any]:
    """Do what a message says, and tell how long it took, or what came of it."""
    acts: dict[str, Callable[..., dict[str, Any]]] = {
        "migrate": _migrate,
        "await workers": _await_workers,
        "hold": _hold,
        "enqueue": _enqueue,
        "enqueue many": _enqueue_many,
        "again": _again,
        "outlast": _outlast,
        "compute": _compute,
        "prompt": _prompt,
    }
    return acts[message.pop("do")](**message)


def _migrate() -> dict[str, Any]:
    call_command("migrate", verbosity=0)
    return {}


def _await_workers(number: int) -> dict[str, Any]:
    """Wait until so many Celery workers answer."""
    while len(celery.app.control.ping(timeout=1.0, limit=number) or ()) < number:
        pass
    return {}


def _ways() -> dict[str, Callable[[int], object]]:
    from benchmarks.queued import peers

    return {
        "job": work.leave_job.enqueue,
        "task": work.leave_task.delay,
        "peer": lambda number: peers.leave_peer.defer(number=number),
    }


def _hold(way: str) -> dict[str, Any]:
    """Have a worker wait for the gate."""
    from benchmarks.queued import peers

    if way == "peer":
        peers.gate_peer.defer()
    else:
        work.gate_task.delay()
    return {}


def _enqueue(way: str, count: int) -> dict[str, Any]:
    enqueue = _ways()[way]
    with connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM clock_timestamp())::float8")
        (began,) = cursor.fetchone()
    started = time.perf_counter()
    for number in range(count):
        enqueue(number)
    return {"seconds": (time.perf_counter() - started) / count, "began": began}


def _enqueue_many(way: str, calls: list[list[Any]]) -> dict[str, Any]:
    """Leave work that takes a while, in one go where that can be."""
    started = time.perf_counter()
    if way == "job":
        work.leave_and_stay_job.using().enqueue_many(calls)
    else:
        for call in calls:
            work.leave_and_stay_task.delay(*call)
    return {"seconds": (time.perf_counter() - started) / len(calls)}


def _again(count: int) -> dict[str, Any]:
    """Deliver some jobs once more, whatever has become of them."""
    pks = list(Job._base_manager.filter(name=work.leave_and_stay_job.name).values_list("pk", flat=True))
    chosen = random.sample(pks, min(count, len(pks)))
    unsent = send((pk, work.leave_and_stay_job.name, "") for pk in chosen)
    return {"sent": len(chosen) - len(unsent)}


def _outlast(way: str, number: int, seconds: float) -> dict[str, Any]:
    if way == "task":
        work.outlast_task.delay(number, seconds)
        return {}
    status: JobStatus = {"2": work.outlast_2, "10": work.outlast_10}[way].enqueue(number, seconds)
    return {"id": str(status.id)}


def _compute(way: str, numbers: list[int]) -> dict[str, Any]:
    """Have something computed for each number, and return how long one took."""
    ways: dict[str, Callable[[int], object]] = {
        "run": _computed_anew,
        "kept": _computed_before,
        "call": work.compute,
        "cached": work.compute_cached,
    }
    compute = ways[way]
    started = time.perf_counter()
    for number in numbers:
        compute(number)
    return {"seconds": (time.perf_counter() - started) / len(numbers)}


def _computed_anew(number: int) -> None:
    status = work.compute_job.enqueue(number)
    assert not status.is_ended, "It is kept already."
    while not (status := job_status(status.id)).is_ended:
        time.sleep(BETWEEN_LOOKS_SECONDS)
    assert status.result == number * 2


def _computed_before(number: int) -> None:
    status = work.compute_job.enqueue(number)
    assert status.is_ended
    assert status.result == number * 2


_models: Final[dict[str, tuple[OpenAICompatibleAdapter, ModelCache]]] = {}


def _prompt(way: str, url: str, text: str, at: float) -> dict[str, Any]:
    """Ask a model at a moment of the machine's clock, through the cache or not."""
    if url not in _models:
        adapter = OpenAICompatibleAdapter(url)
        _models[url] = (adapter, ModelCache(adapter, limit=None))
    adapter, model = _models[url]
    time.sleep(max(0.0, at - time.time()))
    started = time.perf_counter()
    if way == "cache":
        told = model.complete(text, model="bench", temperature=0).text
    else:
        told = adapter.complete(prompt_of("bench", text, {"temperature": 0})).text
    return {"seconds": time.perf_counter() - started, "text": told}


if __name__ == "__main__":
    serve(answer)
