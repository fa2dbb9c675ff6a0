"""What one request or task has done so far, and `timed`."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from contextvars import ContextVar
from functools import wraps
from inspect import isasyncgenfunction, isgeneratorfunction
from time import perf_counter
from typing import Any, Final, Self, TypeVar, cast

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest

from perfkit import signals
from perfkit.making import own_of_a_run
from perfkit.monitoring.installing import begin
from perfkit.monitoring.recording import NANOSECONDS, recorder, switch

F = TypeVar("F", bound=Callable[..., Any])

UNMATCHED: Final = "(unmatched)"
"""The view of requests whose address no pattern matches."""

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

MOST_NAMES: Final = 50
"""Things that one request tells of by name, in Server-Timing."""


class Work:
    """One request or task, as far as it has come.

    Attributes:
        queries: Statements that were sent.
        slow: Those among them that took as long as `QUERY_SLOW_THRESHOLD`.
        database_nanoseconds: How long all of them took.
        timings: Seconds by the names given to `timed`.
    """

    __slots__ = ("_method", "_name", "_request", "database_nanoseconds", "queries", "slow", "timings")

    def __init__(self, name: str = "", request: HttpRequest | None = None) -> None:
        self._name = name
        self._method = ""
        # What a request has begun in the background must not keep it.
        self._request = None if request is None else weakref.ref(request)
        self.queries = 0
        self.slow = 0
        self.database_nanoseconds = 0
        self.timings: dict[str, float] = {}

    @property
    def database_seconds(self) -> float:
        """How long all statements took."""
        return self.database_nanoseconds / NANOSECONDS

    @property
    def name(self) -> str:
        """Of the task; of a request the pattern of its address, once that is known."""
        self._look()
        return self._name

    @property
    def method(self) -> str:
        """Of the request, as its figures have it; empty of what is none."""
        self._look()
        return self._method

    def end(self) -> None:
        """Keep what it is called, for what it has begun and left running."""
        self._look()
        self._request = None

    def _look(self) -> None:
        request = None if self._request is None else self._request()
        if request is not None:
            self._name, self._method = view_name(request), method_name(request)


work: Final[ContextVar[Work | None]] = own_of_a_run(ContextVar("perfkit_work", default=None))


def method_name(request: HttpRequest) -> str:
    """Return the method of a request; those that HTTP does not have are one."""
    method = request.method or ""
    return method if method in METHODS else "OTHER"


def view_name(request: HttpRequest) -> str:
    """Return the pattern that the address of a request matches."""
    match = getattr(request, "resolver_match", None)
    return UNMATCHED if match is None else f"/{match.route}".replace("//", "/")


def current_work() -> Work | None:
    """Return what this code is part of; None outside of requests and tasks that are measured."""
    return work.get()


@contextmanager
def measured(name: str = "") -> Iterator[Work]:
    """Measure what is done within the block as one request or task."""
    begun = Work(name)
    token = work.set(begun)
    try:
        yield begun
    finally:
        work.reset(token)


class timed:  # noqa: N801  # it reads as a verb, as `contextlib.suppress` does
    """Measure a block or a function under a name: how often it runs, how long, and how often it raises.

    As a decorator it measures each call: of a coroutine function until it is done, of a generator function from
    its first value until it ends or is closed, with what its reader does between the values.
    Inside of itself, under the same name, it counts once more: each level is a run of its own, whose time is in
    those around it, too.
    One object is for one block at a time; threads and tasks make their own, as the decorator does.
    The figures stand in `manage.py perfkit_stats`, in the admin, in Prometheus and in Server-Timing; where
    OpenTelemetry is installed each run is a span, too. What is done within belongs to that, but for generators,
    whose readers do other things between the values.

    Args:
        name: Few for the whole project, and fixed: without ids or other values.

    Example:
        with timed("price.quote"):
            quote = supplier.quote(order)

        @timed("report.render")
        async def render(report): ...
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._begun: list[tuple[float, signals.Doing]] = []

    def __call__(self, func: F) -> F:
        """Return the function with each of its calls measured."""
        name = self.name
        if iscoroutinefunction(func):

            @wraps(func)
            async def awaited(*args: Any, **kwargs: Any) -> Any:
                with timed(name):
                    return await func(*args, **kwargs)

            return cast("F", awaited)

        if isasyncgenfunction(func):

            @wraps(func)
            async def yielded_async(*args: Any, **kwargs: Any) -> Any:
                with _Yielding(name):
                    async with aclosing(func(*args, **kwargs)) as values:
                        async for value in values:
                            yield value

            return cast("F", yielded_async)

        if isgeneratorfunction(func):

            @wraps(func)
            def yielded(*args: Any, **kwargs: Any) -> Any:
                with _Yielding(name):
                    return (yield from func(*args, **kwargs))

            return cast("F", yielded)

        @wraps(func)
        def called(*args: Any, **kwargs: Any) -> Any:
            with timed(name):
                return func(*args, **kwargs)

        return cast("F", called)

    def __enter__(self) -> Self:
        begin()
        doing = signals.work.begin("timed", self.name)
        self._enter(doing)
        self._begun.append((perf_counter(), doing))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        begun, doing = self._begun.pop()
        seconds = perf_counter() - begun
        # A generator that is closed before its end has not failed.
        has_failed = kind is not None and not issubclass(kind, GeneratorExit)
        self._leave(doing, error if has_failed else None)
        if switch.is_on:
            recorder.record(recorder.series("timed", self.name), int(seconds * 1_000_000), has_failed)
        part_of = work.get()
        if part_of is not None and (self.name in part_of.timings or len(part_of.timings) < MOST_NAMES):
            part_of.timings[self.name] = part_of.timings.get(self.name, 0.0) + seconds

    def _enter(self, doing: signals.Doing) -> None:
        doing.__enter__()

    def _leave(self, doing: signals.Doing, error: BaseException | None) -> None:
        doing.__exit__(None if error is None else type(error), error, None)


class _Yielding(timed):
    """Measures a generator, which begins and ends in whatever its reader is just doing."""

    def _enter(self, doing: signals.Doing) -> None:
        """Leave what is current as it is."""

    def _leave(self, doing: signals.Doing, error: BaseException | None) -> None:
        doing.end(error)
