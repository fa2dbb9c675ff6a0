"""A Celery app as the rules see it: its settings, its tasks, and where they go."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, NamedTuple

from celery import Celery, Task
from celery.app.routes import MapRoute, prepare

from perfkit.tasks.limits import QUEUE
from perfkit.tasks.preset import TRANSPORT, longest_etas
from perfkit.tasks.queues import scheme_of

MOST_NAMES: Final = 5
"""Of tasks, in one message."""

GREEN_POOLS: Final = frozenset({"eventlet", "gevent"})
ENDLESS_POOLS: Final = frozenset({"eventlet", "solo", "threads"})
"""Pools of workers that end no task, whatever its limits."""

BACKOFF_SECONDS: Final = 600
"""What Celery waits at most between retries that wait longer each time, where the task does not say."""


class Finding(NamedTuple):
    """What is dangerous, under its id without the prefix, and the way out."""

    id: str
    message: str
    hint: str


@dataclass(frozen=True)
class Audited:
    """An app and those of its tasks that are looked at."""

    app: Celery
    tasks: list[Any]
    queues: dict[str, dict[str, Any]] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "queues", dict(_declared(self.conf.task_queues)))

    @property
    def conf(self) -> Any:
        """Return the app's settings; their stubs do not know all."""
        return self.app.conf

    @property
    def is_configured_by_perfkit(self) -> bool:
        """Tell whether the app has the preset, and what `configure` installs."""
        return self.app in longest_etas

    @cached_property
    def scheme(self) -> str:
        """Return which broker it is, empty for Celery's default."""
        return scheme_of(self.conf.broker_url or self.conf.broker_write_url)

    @property
    def transport(self) -> Mapping[str, Any]:
        """Return what is said to the broker's transport."""
        options: Mapping[str, Any] = self.conf.get(TRANSPORT) or {}
        return options

    @property
    def forks(self) -> bool:
        """Tell whether a task has a process of its own, which can be killed."""
        return self.conf.worker_pool not in GREEN_POOLS | ENDLESS_POOLS

    @property
    def late(self) -> list[Any]:
        """Return the tasks that are acknowledged when they are done."""
        return [task for task in self.tasks if task.acks_late]

    def hard_limit(self, task: Any) -> float:
        """Return after how many seconds a task is killed; 0 for never."""
        return task.time_limit or self.conf.task_time_limit or 0

    def soft_limit(self, task: Any) -> float:
        """Return after how many seconds a task is told to end; 0 for never."""
        return task.soft_time_limit or self.conf.task_soft_time_limit or 0

    @cached_property
    def longest_eta(self) -> float:
        """Return for how many seconds a worker may hold a task that is not due, as far as anything says so."""
        schedules = [entry.get("options") or {} for entry in self.schedules.values()]
        return max(
            longest_etas.get(self.app, 0),
            *map(_retry_delay, self.tasks),
            *(options.get("countdown") or 0 for options in schedules),
            0,
        )

    @cached_property
    def schedules(self) -> dict[str, Mapping[str, Any]]:
        """Return the entries of the schedule that are dictionaries, by name."""
        entries = (self.conf.beat_schedule or {}).items()
        return {name: entry for name, entry in sorted(entries) if isinstance(entry, Mapping)}

    @cached_property
    def routes(self) -> list[Any]:
        """Return the routers, in the order in which they are asked."""
        return list(prepare(self.conf.task_routes))

    def destinations(self) -> Iterator[Mapping[str, Any]]:
        """Yield what the routes say that can be read: where tasks go, and how urgent they are."""
        routes = self.conf.task_routes or ()
        for each in routes if isinstance(routes, list | tuple) else (routes,):
            if isinstance(each, Mapping | list | tuple):
                for target in dict(each).values():
                    yield {"queue": target} if isinstance(target, str) else dict(target)

    def destination(self, task: Any) -> dict[str, Any] | None:
        """Return queue and priority of a task's messages; None where code decides, which is not asked."""
        own = {"queue": getattr(task, "queue", None) or getattr(task, QUEUE, None), "priority": task.priority}
        found: dict[str, Any] = {}
        for router in self.routes:
            if not isinstance(router, MapRoute):
                return None
            if (route := router(task.name)) is not None:
                found = route
                break
        found |= {name: value for name, value in own.items() if value is not None}
        if not found.get("queue") and ("exchange" in found or "routing_key" in found):
            return None
        return {**found, "queue": queue_name(found.get("queue")) or self.conf.task_default_queue}


def queue_name(queue: Any) -> str:
    """Return the name of a queue that is given as one, or by its name."""
    return str(getattr(queue, "name", queue) or "")


def listed(names: Iterable[str]) -> str:
    """Return names for a message."""
    every = list(names)
    return ", ".join(every[:MOST_NAMES]) + (" and others" if len(every) > MOST_NAMES else "")


def _declared(queues: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each declared queue's name and arguments, its consumers' too; Celery takes a list or a dictionary."""
    if isinstance(queues, Mapping):
        for name, options in queues.items():
            yield (
                name,
                {
                    **((options or {}).get("consumer_arguments") or {}),
                    **((options or {}).get("queue_arguments") or {}),
                },
            )
        return
    for queue in queues or ():
        arguments = {
            **(getattr(queue, "consumer_arguments", None) or {}),
            **(getattr(queue, "queue_arguments", None) or {}),
        }
        most = getattr(queue, "max_priority", None)
        yield queue_name(queue), arguments if most is None else {"x-max-priority": most, **arguments}


def _retry_delay(task: Any) -> float:
    """Return the longest countdown that a task declares for its retries; what its code says is not seen."""
    options = getattr(task, "retry_kwargs", None) or {}
    retries = options.get("max_retries", task.max_retries)
    if retries == 0:
        return 0
    if getattr(task, "autoretry_for", None) and "countdown" in options:
        return float(options["countdown"])
    if getattr(task, "autoretry_for", None) and (factor := getattr(task, "retry_backoff", False)):
        most = getattr(task, "retry_backoff_max", BACKOFF_SECONDS)
        return float(most if retries is None else min(most, max(1, int(factor)) * 2 ** (retries - 1)))
    return 0 if task.default_retry_delay == Task.default_retry_delay else float(task.default_retry_delay)
