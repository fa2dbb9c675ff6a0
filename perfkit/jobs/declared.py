"""`@job`: a function that is called now, or run later by a worker, once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Final, Generic, ParamSpec, TypeVar, overload

from asgiref.sync import iscoroutinefunction, sync_to_async

from perfkit.caching.functions.cached import CachedFunction
from perfkit.caching.functions.templates import Template
from perfkit.errors import (
    JobArgumentError,
    JobDeclarationError,
    UncacheableArgumentError,
    UnknownJobError,
    nearest,
)
from perfkit.jobs.arguments import bound
from perfkit.jobs.retries import Retries

if TYPE_CHECKING:
    import datetime as dt

    from perfkit.jobs.status import JobStatus

P = ParamSpec("P")
R = TypeVar("R")

Function = Callable[..., Any]

LEASE_SECONDS: Final = 30.0
TTL_SECONDS: Final = 86_400
PROGRESS: Final = "progress"


class JobFunction(Generic[P, R]):
    """A function under `@job`. Called, it is the plain function; `enqueue` leaves it to a worker.

    Attributes:
        name: Of the job: the function's module and name.
        function: What was decorated.
        cached: The function, where that is a cached one, whose answers are the results of the job.
        queue: Where its messages go; None where the back end's routes decide.
        retries: How often, and after which errors.
        lease_seconds: How long after a worker has died another one takes its job.
        ttl_seconds: How long its result is kept, and holds its key, from its end on.
        is_atomic: Whether it runs in the transaction that ends it.
        has_steps: Whether it is a generator function, whose every `yield` commits what was done until there.
        soft_limit, hard_limit: Seconds, for back ends that have these; None for those of the queue.
        is_reused: Whether one that is done holds its key while its result is kept.
        is_forgotten: Whether its arguments are removed when it is done.
        shown: Parameters whose values people may see.
    """

    def __init__(
        self,
        function: Callable[P, R],
        *,
        name: str,
        queue: str | None,
        key: str | Callable[..., str] | None,
        ttl: int,
        retries: Retries,
        lease: float,
        progress: bool,
        atomic: bool,
        soft_limit: float | None,
        hard_limit: float | None,
        reuse: bool,
        forget: bool,
        shown: Sequence[str],
    ) -> None:
        update_wrapper(self, function)
        self.function: Function = function
        self.name = name
        self.queue = queue
        self.ttl_seconds = ttl
        self.retries = retries
        self.lease_seconds = lease
        self.cached = function if isinstance(function, CachedFunction) else None
        self.is_atomic = atomic and self.cached is None
        self.has_steps = inspect.isgeneratorfunction(function)
        self.is_async = iscoroutinefunction(function)
        self.takes_progress = progress
        self.soft_limit, self.hard_limit = soft_limit, hard_limit
        self.is_reused, self.is_forgotten = reuse and self.cached is None, forget
        self.shown = frozenset(shown)
        signature = inspect.signature(function)
        if progress:
            if PROGRESS not in signature.parameters:
                raise JobDeclarationError(name, "progress=True needs a parameter named 'progress'.")
            left = [each for each in signature.parameters.values() if each.name != PROGRESS]
            signature = signature.replace(parameters=left)
        self.signature = signature
        self.parameters = list(signature.parameters)
        if wrong := sorted(self.shown.difference(self.parameters)):
            raise JobDeclarationError(
                name, f"shown={wrong[0]!r} is none of its parameters.{nearest(wrong[0], self.parameters)}"
            )
        self._key: Callable[[dict[str, Any]], str] | None = None
        if isinstance(key, str):
            self._key = Template(key, function=name, parameters=self.parameters).path
        elif key is not None:
            self._key = lambda arguments: key(**arguments)
        elif self.cached is not None:
            cached = self.cached
            self._key = lambda arguments: cached.key(**arguments)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the plain function, here and now; as a job it is nobody's then."""
        if self.takes_progress and PROGRESS not in kwargs:
            kwargs[PROGRESS] = _untold
        result: R = self.function(*args, **kwargs)
        return result

    def enqueue(self, *args: Any, **kwargs: Any) -> JobStatus:
        """Leave a call to a worker: written down with the transaction that is open, sent with its COMMIT.

        Where the transaction rolls back there is no job. A queue that cannot be reached is no error: it is sent
        once it can be. Under a key that a job has which waits, runs, or is done and kept, that one is returned.

        Args:
            args, kwargs: What JSON can hold.

        Raises:
            JobArgumentError: The function cannot be called with these, or JSON cannot hold them.

        Queries:
            One.
        """
        status: JobStatus = self.using().enqueue(*args, **kwargs)
        return status

    async def aenqueue(self, *args: Any, **kwargs: Any) -> JobStatus:
        """Do the same from a coroutine."""
        return await sync_to_async(self.enqueue)(*args, **kwargs)

    def using(self, *, run_after: dt.datetime | dt.timedelta | None = None, queue: str | None = None) -> Any:
        """Return the same job to be enqueued otherwise.

        Args:
            run_after: Not before this moment, or for so long.
            queue: Another queue.
        """
        from perfkit.jobs.enqueueing import Call  # the models are not loaded where jobs are declared

        return Call(self, run_after=run_after, queue=queue or self.queue)

    def key_text(self, args: Sequence[Any], kwargs: dict[str, Any]) -> str | None:
        """Return the key of a call; None where the job has none.

        Raises:
            JobArgumentError: The function cannot be called with these.
        """
        arguments = bound(self.name, self.signature, args, kwargs)
        if self._key is None:
            return None
        try:
            return self._key(arguments)
        except UncacheableArgumentError as error:
            raise JobArgumentError(
                self.name,
                f"{error.parameter!r} is {error.kind.removeprefix('of ')}, which names nothing in a key.",
            ) from error


def _untold(current: int, total: int, message: str = "") -> None:
    """Stand in for the progress of a job where the function is called as such."""


_jobs: Final[dict[str, JobFunction[..., Any]]] = {}


@overload
def job(function: Callable[P, R], /) -> JobFunction[P, R]: ...
@overload
def job(
    *,
    queue: str | None = None,
    key: str | Callable[..., str] | None = None,
    ttl: int = TTL_SECONDS,
    retries: int = 0,
    retry_on: Sequence[type[BaseException]] = (),
    backoff: float = 2.0,
    longest_backoff: float = 600.0,
    lease: float = LEASE_SECONDS,
    progress: bool = False,
    atomic: bool = True,
    soft_limit: float | None = None,
    hard_limit: float | None = None,
    reuse: bool = True,
    forget: bool = False,
    shown: Sequence[str] = (),
    name: str | None = None,
) -> Callable[[Callable[P, R]], JobFunction[P, R]]: ...
def job(
    function: Any = None,
    /,
    *,
    queue: str | None = None,
    key: str | Callable[..., str] | None = None,
    ttl: int = TTL_SECONDS,
    retries: int = 0,
    retry_on: Sequence[type[BaseException]] = (),
    backoff: float = 2.0,
    longest_backoff: float = 600.0,
    lease: float = LEASE_SECONDS,
    progress: bool = False,
    atomic: bool = True,
    soft_limit: float | None = None,
    hard_limit: float | None = None,
    reuse: bool = True,
    forget: bool = False,
    shown: Sequence[str] = (),
    name: str | None = None,
) -> Any:
    """Make a function, plain or async, a job: `enqueue` it, and its effect in the database happens once.

    It runs in a transaction that also ends the job, so a worker that dies, a message that is delivered twice or a
    lease that has ended leave no second effect. What it does outside of the database may happen more than once.

    A generator function is a job in steps: each `yield` commits what was done since the last, and keeps the value
    as `current_run().checkpoint`, from where the next run goes on if this one does not come to its end.

    Over a function that is `cached`, the job's results are its answers: where the cache has one that holds,
    `enqueue` returns a job that is done, and nothing runs; and of calls of one key one waits or runs.
    It is not in a transaction, and its key is that of the answer unless another is given.

    Args:
        queue: Where it is sent; else the routes of the back end decide.
        key: A template of its parameters, such as `report:{flight_id}`, or a function of them that returns a text:
            while a job with that key waits or runs, and for `ttl` seconds after it is done, `enqueue` returns that
            one.
        ttl: Seconds that its result is kept.
        retries: How often it is tried again after an error in `retry_on`.
        retry_on: Errors that may be gone a while later. Any other is final: the job is a dead letter then.
            Lost connections to its own database need not be named.
        backoff, longest_backoff: Seconds, see `Retries`.
        lease: Seconds after which the job of a dead worker is given to another one.
            It is renewed while the job runs, however long that is.
        progress: Call it with `progress`, a function to tell how far it is.
        atomic: Whether it runs in one transaction. Without, it may run twice where a worker is lost,
            so it must bear that.
        soft_limit, hard_limit: Seconds; by default those of the queue.
        reuse: Whether one that is done holds its key while its result is kept; without, only one that waits or
            runs does.
        forget: Remove the arguments when it is done; what can be replayed keeps them until it is purged.
        shown: Parameters whose values the admin and `perfkit_jobs` show; of others they show the type.
        name: In the place of the function's module and name; workers find it by that.

    Raises:
        JobDeclarationError: Some of this cannot be.
        KeyTemplateError: `key` names no parameter.

    Example:
        @job(queue="heavy", key="report:{airport}", retries=5, retry_on=[OSError], shown=["airport"])
        def make_report(airport: str) -> int:
            ...

        make_report.enqueue("JFK")
    """

    def declare(function: Callable[P, R]) -> JobFunction[P, R]:
        full_name = name or f"{function.__module__}.{function.__qualname__}"
        if "<locals>" in full_name:
            raise JobDeclarationError(full_name, "a worker could not find a function within another one.")
        for what, seconds in (("ttl", ttl), ("lease", lease), ("backoff", backoff)):
            if not seconds > 0:
                raise JobDeclarationError(full_name, f"{what} must be above 0 seconds.")
        if retries < 0 or (retries and not retry_on):
            raise JobDeclarationError(full_name, "retries need retry_on, the errors that may be gone later.")
        declared = JobFunction(
            function,
            name=full_name,
            queue=queue,
            key=key,
            ttl=ttl,
            retries=Retries(retries, tuple(retry_on), backoff, longest_backoff),
            lease=lease,
            progress=progress,
            atomic=atomic,
            soft_limit=soft_limit,
            hard_limit=hard_limit,
            reuse=reuse,
            forget=forget,
            shown=shown,
        )
        if declared.has_steps and not atomic:
            raise JobDeclarationError(full_name, "each step is a transaction, so atomic=False cannot be.")
        if inspect.isasyncgenfunction(function):
            raise JobDeclarationError(full_name, "a job in steps is a plain generator function.")
        former = _jobs.get(full_name)
        if former is not None and former.__module__ != declared.__module__:
            raise JobDeclarationError(full_name, f"{former.__module__} declares a job of that name, too.")
        _jobs[full_name] = declared
        for tell in _listeners:
            tell(declared)
        return declared

    return declare if function is None else declare(function)


_listeners: Final[list[Callable[[JobFunction[..., Any]], None]]] = []


def on_each_job(tell: Callable[[JobFunction[..., Any]], None]) -> None:
    """Tell of each job that there is, and of each that will be declared."""
    _listeners.append(tell)
    for declared in _jobs.values():
        tell(declared)


def job_named(name: str) -> JobFunction[..., Any]:
    """Return the job of a name.

    Raises:
        UnknownJobError: No module that was imported declares it.
    """
    try:
        return _jobs[name]
    except KeyError:
        raise UnknownJobError(name, nearest(name, list(_jobs))) from None


def is_job(name: str) -> bool:
    """Say whether this process knows a job of that name."""
    return name in _jobs


def has_jobs() -> bool:
    """Say whether this process knows any."""
    return bool(_jobs)
