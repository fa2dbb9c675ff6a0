"""Jobs of the tests, found by workers as those of any app are."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

from perfkit.caching import cached
from perfkit.jobs import current_run, job
from tests.testapp.effects import Effect


class ComesBackError(Exception):
    """Declared as one that may be gone later."""


@job(shown=["number"])
def leave_effect(number: int, note: str = "") -> int:
    Effect.objects.create(number=number, note=note)
    return number * 2


@job(queue="quick", lease=2)
def leave_effect_slowly(number: int, seconds: float) -> None:
    Effect.objects.create(number=number)
    time.sleep(seconds)


@job
async def leave_effect_async(number: int) -> int:
    await Effect.objects.acreate(number=number)
    return number


@job(key="keyed:{number}", ttl=60)
def leave_effect_keyed(number: int, note: str = "") -> str:
    Effect.objects.create(number=number, note=note)
    return note


@job(retries=2, retry_on=[ComesBackError], backoff=0.001)
def fail(number: int, secret: str, kind: str = "again") -> None:
    Effect.objects.create(number=number)
    if kind == "again":
        raise ComesBackError(f"no luck with {secret}")
    if kind == "repr":
        raise KeyError(secret)
    raise ValueError(f"no way with {secret}")


@job
def leave_effects_in_steps(count: int, stop_at: int | None = None, kind: str = "") -> Iterator[int]:
    run = current_run()
    assert run is not None
    for number in range(run.checkpoint or 0, count):
        Effect.objects.create(number=number)
        if number == stop_at and run.number == 1:
            if kind == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise ValueError("stopped here")
        run.progress(number + 1, count, f"number {number}")
        yield number + 1


@job
def count_in_one_list(count: int) -> Iterator[list[int]]:
    run = current_run()
    assert run is not None
    numbers: list[int] = []
    kept = []
    for number in range(count):
        if run.checkpoint is not None:
            kept.append(list(run.checkpoint))
        numbers.append(number)
        yield numbers
    return kept


@job(progress=True)
def tell(total: int, seconds: float, *, progress: Callable[[int, int, str], None]) -> int:
    for number in range(1, total + 1):
        Effect.objects.create(number=number)
        progress(number, total, f"step {number}")
        time.sleep(seconds)
    return total


@job
def return_what_json_cannot_hold() -> Any:
    Effect.objects.create(number=1)
    return object()


@job
@cached("effects:{number}", ttl=600)
def count_effects(number: int) -> int:
    return Effect.objects.filter(number=number).count()


@job(name="count_effects_async")
@cached("effects-async:{number}", ttl=600)
async def count_effects_async(number: int) -> int:
    return await Effect.objects.filter(number=number).acount()
