"""The Celery configuration that perfkit recommends: each value, and why."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from celery import Celery
from kombu import Exchange, Queue

from perfkit.errors import VisibilityTimeoutError
from perfkit.tasks import scopes
from perfkit.tasks.limits import LimitsByQueue


@dataclass(frozen=True, slots=True)
class TaskQueue:
    """One kind of work.

    Priorities are those of Redis, where 0 comes first (RabbitMQ counts the other way).
    """

    name: str
    priority: int
    soft_seconds: int
    hard_seconds: int
    text: str


QUEUES: Final = (
    TaskQueue("quick", 0, 25, 30, "Somebody waits for it: mails, invalidation."),
    TaskQueue("default", 3, 270, 300, "Everything that no route names."),
    TaskQueue("ai", 6, 540, 600, "Calls to model servers: slow, and mostly waiting."),
    TaskQueue("heavy", 9, 1740, 1800, "Reports, imports, warming: long, and in no hurry."),
)

ROUTES: Final = (
    ("perfkit.warm_cache", "heavy"),
    ("*.quick.*", "quick"),
    ("*.heavy.*", "heavy"),
    ("*.ai.*", "ai"),
)
"""Patterns of task names and their queues; a `queue=` where the task is sent wins."""

LONGEST_ETA_SECONDS: Final = 3600
VISIBILITY_MARGIN_SECONDS: Final = 300

TRANSPORT: Final = "broker_transport_options"


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of the preset: a Celery setting, its value, and the reason."""

    name: str
    value: Any
    reason: str


def usable_cores() -> int:
    """Return how many cores this process may use, which in a container can be fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def visibility_timeout(
    longest_eta_seconds: int = LONGEST_ETA_SECONDS, queues: Sequence[TaskQueue] = QUEUES
) -> int:
    """Return the seconds after which the broker gives an unacknowledged task to another worker.

    Less than the hard limit plus the longest countdown would run a task twice while it still waits or works.
    """
    return max(queue.hard_seconds for queue in queues) + longest_eta_seconds + VISIBILITY_MARGIN_SECONDS


def preset(longest_eta_seconds: int = LONGEST_ETA_SECONDS) -> tuple[Setting, ...]:
    """Return every setting of the preset in the order of the documentation.

    Args:
        longest_eta_seconds: Longest `countdown` or `eta` of the project's tasks, retries included.
    """
    default = next(queue for queue in QUEUES if queue.name == "default")
    return (
        Setting(
            "task_acks_late", True, "A task is acknowledged when it is done, so a crash does not lose it."
        ),
        Setting(
            "task_reject_on_worker_lost",
            True,
            "A task whose process was killed goes back to the queue, else late acknowledgement drops it.",
        ),
        Setting(
            "worker_prefetch_multiplier", 1, "No worker hoards tasks behind a long one while another is idle."
        ),
        Setting("worker_concurrency", usable_cores(), "One process a core that this process may use."),
        Setting("worker_max_tasks_per_child", 1000, "A leak in a task ends with its process."),
        Setting("result_expires", 3600, "Results are read soon or never; an hour keeps the server small."),
        Setting("worker_send_task_events", True, "Monitors see what workers do."),
        Setting("task_send_sent_event", True, "Monitors see how long a task waited."),
        Setting("task_track_started", True, "A running task says STARTED, not PENDING."),
        Setting("task_default_queue", default.name, "Where a task goes that no route names."),
        Setting("task_default_priority", default.priority, "Between quick and heavy."),
        Setting(
            "task_queues", tuple(_declared(queue) for queue in QUEUES), "One queue for each kind of work."
        ),
        Setting(
            "task_create_missing_queues",
            False,
            "A misspelt queue is an error where it is named, not a queue that nobody reads.",
        ),
        Setting("task_routes", (dict(_routes()),), "Each task's queue and priority, by its name."),
        Setting(
            "task_soft_time_limit", default.soft_seconds, "The task is told first, so that it can clean up."
        ),
        Setting(
            "task_time_limit", default.hard_seconds, "A task that hangs does not hold its process for ever."
        ),
        Setting(
            "task_annotations",
            (LimitsByQueue({queue.name: (queue.soft_seconds, queue.hard_seconds) for queue in QUEUES}),),
            "The time limits of each queue, where a task has none of its own.",
        ),
        Setting(
            TRANSPORT,
            {
                "visibility_timeout": visibility_timeout(longest_eta_seconds),
                "priority_steps": sorted(queue.priority for queue in QUEUES),
                "queue_order_strategy": "priority",
            },
            "An unacknowledged task is given out again only after hard limit, longest ETA and a margin; "
            "and a worker of several queues takes the most urgent task first.",
        ),
        Setting(
            "result_backend_transport_options",
            {"retry_policy": {"timeout": 5.0, "max_retries": 2}},
            "A result server that is down is given up after seconds, not after 20 tries.",
        ),
        Setting("broker_connection_retry_on_startup", True, "Workers may start before the broker does."),
        Setting(
            "worker_cancel_long_running_tasks_on_connection_loss",
            True,
            "A task whose worker lost its connection is given out again; so the first run stops.",
        ),
        Setting("task_serializer", "json", "Pickle from a broker can run code."),
        Setting("result_serializer", "json", "Pickle from a result store can run code."),
        Setting("accept_content", ("json",), "Any other content is refused."),
        Setting("result_accept_content", ("json",), "Any other content is refused."),
        Setting("enable_utc", True, "Times in messages are UTC."),
    )


def configure(app: Celery, *, longest_eta_seconds: int = LONGEST_ETA_SECONDS, **overrides: Any) -> None:
    """Give `app` the preset, and perfkit's tasks.

    The preset are defaults: what the project configures itself (`config_from_object`, `app.conf`) wins,
    in whatever order the two are called; of `broker_transport_options` it wins key by key.
    Nothing is connected, and no Django setting is read yet.

    Args:
        app: The project's Celery app.
        longest_eta_seconds: Longest `countdown` or `eta` of the project's tasks, retries included.
        overrides: Celery settings in lower case, instead of those of the preset; a dictionary replaces,
            except `broker_transport_options`.

    Raises:
        VisibilityTimeoutError: An overridden visibility timeout is shorter than the limits allow;
            for one of the project's configuration, it is raised where Celery first reads that.

    Source:
        Celery manual, "Configuration and defaults" and "Using Redis: visibility timeout".
    """
    defaults = {setting.name: setting.value for setting in preset(longest_eta_seconds)}
    settings = defaults | overrides

    def transport_options(conf: Mapping[str, Any]) -> dict[str, Any]:
        hard_limits = [queue.hard_seconds for queue in QUEUES]
        hard_limit = max(conf.get("task_time_limit") or settings["task_time_limit"], *hard_limits)
        least = hard_limit + longest_eta_seconds + VISIBILITY_MARGIN_SECONDS
        given = {**overrides.get(TRANSPORT, {}), **(conf.get(TRANSPORT) or {})}
        seconds = given.get("visibility_timeout", least)
        if seconds < least:
            raise VisibilityTimeoutError(seconds, hard_limit, longest_eta_seconds, VISIBILITY_MARGIN_SECONDS)
        return {**defaults[TRANSPORT], "visibility_timeout": least, **given}

    def apply(source: Any, **_: Any) -> None:
        options = transport_options(source)
        if source.get(TRANSPORT):
            source[TRANSPORT] = options
        # Celery's own; add_defaults() would beat the project's settings.
        source.defaults[-1].update(settings | {TRANSPORT: options})

    def check() -> dict[str, Any]:
        transport_options(app.conf)
        return {}

    transport_options({})
    if app.configured:  # type: ignore[attr-defined]  # missing in the stubs
        apply(app.conf)
    else:
        app.add_defaults(check)  # the signal would log an error and go on
        app.on_after_configure.connect(apply, weak=False)
    for module in ("warming", "jobs"):
        app.autodiscover_tasks(["perfkit.tasks"], related_name=module)
    app.autodiscover_tasks(related_name="jobs")
    scopes.install()


def _declared(queue: TaskQueue) -> Queue:
    """Return the queue with an exchange of its own; Celery would bind all of them to the default one alike."""
    return Queue(queue.name, Exchange(queue.name), routing_key=queue.name)


def _routes() -> list[tuple[str, dict[str, Any]]]:
    priorities = {queue.name: queue.priority for queue in QUEUES}
    return [(pattern, {"queue": queue, "priority": priorities[queue]}) for pattern, queue in ROUTES]
