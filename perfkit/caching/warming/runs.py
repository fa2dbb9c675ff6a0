"""Running the warmers, one after the other, each in as many threads as are asked for."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from perfkit.caching.coherence import breaker
from perfkit.caching.warming.batches import Filled, Manner
from perfkit.caching.warming.crew import Crew
from perfkit.caching.warming.wanted import SINGLE, batches, count
from perfkit.caching.warming.warmers import Wanted, Warmer, warmers_named

logger: Final = logging.getLogger("perfkit.caching")

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class WarmResult:
    """What one warmer did.

    Args:
        wanted: Entries that it asked for, as far as it came.
        entries: Those that were stored; in a dry run none.
        held: Those that were in the cache already, and hold.
        size_bytes: Of what was stored, as the cache server holds it, without its keys.
        errors: How many could not be made or kept; and one more where the warmer itself failed.
        error: Why it stopped, or the first of its errors; empty where there was none.
    """

    name: str
    wanted: int
    entries: int
    held: int
    size_bytes: int
    seconds: float
    errors: int = 0
    error: str = ""

    @property
    def entries_per_second(self) -> float:
        """Entries stored in a second."""
        return self.entries / self.seconds if self.seconds else 0.0

    @property
    def left_out(self) -> int:
        """Those that somebody was writing, that are gone, or that have no value to keep."""
        return max(0, self.wanted - self.entries - self.held - self.errors)


def warm(
    names: Sequence[str] | None = None,
    *,
    dry_run: bool = False,
    force: bool = False,
    jobs: int = 1,
    progress: Progress | None = None,
    told: Callable[[WarmResult], None] | None = None,
    stop_on: tuple[type[BaseException], ...] = (),
) -> list[WarmResult]:
    """Fill the cache with what the warmers want.

    What holds, and has half of its time before it, is left as it is.
    Several processes and hosts may do this at once: each batch is filled by one of them.
    A warmer that fails does not keep the others from running, nor does a call that raises keep other calls.

    Args:
        names: Which warmers; all where None or empty.
        dry_run: Only count.
        force: Make anew what holds too.
        jobs: Threads that fill at once, each with connections of its own; with one it is the calling thread.
        progress: Told the warmer's name, the entries done and all that it wants, after each batch; by one thread
            at a time.
        told: Told each result as soon as there is one, also of a warmer that is interrupted.
        stop_on: Errors that end the run instead of counting as those of a call, as that of a time limit does.

    Returns:
        One result per warmer, in the order asked for.

    Raises:
        UnknownWarmerError: A name is not registered; raised before anything is warmed.
        ValueError: `jobs` is not a whole number, at least 1; likewise.

    Queries:
        Per warmer those of its own, one for each 500 rows and one for their keys, one for each list,
        and those of the functions that are called; with `progress` one more for each queryset of rows.
    """
    if type(jobs) is not int or jobs < 1:
        raise ValueError(f"jobs is a whole number, at least 1, not {jobs!r}.")
    manner = Manner(force, stop_on)
    results = []
    for name, warmer in warmers_named(names).items():
        run = _Run(name, progress)
        try:
            if dry_run:
                run.count(warmer)
            else:
                run.fill(warmer, manner, jobs=jobs)
        except BaseException as error:
            run.interrupted(error)
            raise
        finally:
            results.append(run.result())
            if told is not None:
                told(results[-1])
    return results


def refresh(name: str, wanted: Wanted) -> WarmResult:
    """Make anew what one could return from a warmer, whether or not the cache has it.

    Args:
        name: What the result calls it.

    Queries:
        Those that make it.
    """
    run = _Run(name, None)
    run.fill(lambda: wanted, Manner(force=True), jobs=1)
    return run.result()


class _Run:
    """One warmer at work."""

    def __init__(self, name: str, progress: Progress | None) -> None:
        self._name = name
        self._progress = progress
        self._started = time.perf_counter()
        self._wanted = 0
        self._total = 0
        self._filled = Filled()
        self._problems = 0
        self._first_problem = ""
        self._failure = ""

    def count(self, warmer: Warmer) -> None:
        """Count what the warmer wants."""
        try:
            self._wanted = count(warmer())
        except Exception as error:
            logger.exception("The warmer %s failed.", self._name)
            self._failure = f"{type(error).__name__}: {error}"

    def fill(self, warmer: Warmer, manner: Manner, *, jobs: int) -> None:
        """Fill what the warmer wants."""
        crew = Crew(jobs, manner, self._done)
        try:
            returned = warmer()
            if self._progress is not None:
                again = isinstance(returned, (*SINGLE, Sequence))
                self._total = count(returned if again else warmer())
            crew.work(batches(returned))
        except manner.stop_on:
            raise
        except Exception as error:
            logger.exception("The warmer %s failed.", self._name)
            self._failure = f"{type(error).__name__}: {error}"
        if crew.problem:
            self._failure = crew.problem
        elif breaker.is_open and not self._failure:
            self._failure = "the cache server does not answer"

    def interrupted(self, error: BaseException) -> None:
        """Note that somebody has ended it."""
        self._failure = f"interrupted: {type(error).__name__}"

    def result(self) -> WarmResult:
        """Return what it did so far."""
        filled = self._filled
        error = self._failure or self._first_problem
        if self._problems > 1 and not self._failure:
            error = f"{self._problems:,} failed, the first of them: {error}"
        return WarmResult(
            self._name,
            self._wanted,
            filled.entries,
            filled.held,
            filled.size_bytes,
            time.perf_counter() - self._started,
            self._problems + bool(self._failure),
            error,
        )

    def _done(self, size: int, filled: Filled) -> None:
        self._wanted += size
        self._filled.entries += filled.entries
        self._filled.size_bytes += filled.size_bytes
        self._filled.held += filled.held
        if filled.problems:
            self._first_problem = self._first_problem or filled.problems[0]
            self._problems += len(filled.problems)
        if self._progress is not None:
            self._progress(self._name, self._wanted, max(self._total, self._wanted))
