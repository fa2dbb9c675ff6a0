"""The Celery configuration that perfkit recommends: each value, and why."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakKeyDictionary

from celery import Celery

from perfkit.errors import VisibilityTimeoutError
from perfkit.tasks import connections, origins, scopes, sending, timings
from perfkit.tasks.limits import LimitsByQueue
from perfkit.tasks.queues import (
    DEFAULT,
    LONGEST_ETA_SECONDS,
    QUEUES,
    VISIBILITY_MARGIN_SECONDS,
    Broker,
    broker_of,
    declared_queues,
    declared_routes,
    least_timeout,
)
from perfkit.tasks.schedules import beat_entries_of_settings, schedule_beats

TRANSPORT: Final = "broker_transport_options"
LINE: Final = "[%(asctime)s: %(levelname)s/%(processName)s] [%(request_id)s]{} %(message)s"
"""As Celery writes it, and the id."""

TASK_MODULES: Final = ("jobs", "ticks")
"""Of this package, with perfkit's tasks."""

longest_etas: Final[WeakKeyDictionary[Celery, int]] = WeakKeyDictionary()
"""What `configure` was told, by app."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of the preset: a Celery setting, its value, and the reason.

    Attributes:
        shown: What the reference page has in the place of a value that is long, or this machine's.
    """

    name: str
    value: Any
    reason: str
    shown: str = ""


def usable_cores() -> int:
    """Return how many cores this process may use, which in a container can be fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def preset(
    longest_eta_seconds: int = LONGEST_ETA_SECONDS, *, broker: Broker = "redis"
) -> tuple[Setting, ...]:
    """Return every setting of the preset in the order of the documentation.

    Args:
        longest_eta_seconds: Longest `countdown` or `eta` of the project's tasks, retries included.
        broker: `"rabbitmq"` counts priorities the other way, and has no visibility timeout.
    """
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
        Setting(
            "worker_concurrency",
            usable_cores(),
            "One process a core that this process may use.",
            shown="cores that may be used",
        ),
        Setting("worker_max_tasks_per_child", 1000, "A leak in a task ends with its process."),
        Setting(
            "CELERY_DB_REUSE_MAX",
            1000,
            "A task does not connect to the database anew: `CONN_MAX_AGE` says how long a connection is kept, "
            "and perfkit looks at it before each task.",
        ),
        Setting("result_expires", 3600, "Results are read soon or never; an hour keeps the server small."),
        Setting("worker_send_task_events", True, "Monitors see what workers do."),
        Setting("task_send_sent_event", True, "Monitors see how long a task waited."),
        Setting("task_track_started", True, "A running task says STARTED, not PENDING."),
        Setting("task_default_queue", DEFAULT.name, "Where a task goes that no route names."),
        Setting(
            "task_queues",
            declared_queues(broker, longest_eta_seconds),
            "One queue for each kind of work.",
            shown="[](#queues)",
        ),
        Setting(
            "task_create_missing_queues",
            False,
            "A misspelt queue is an error where it is named, not a queue that nobody reads.",
        ),
        Setting(
            "task_routes",
            (declared_routes(),),
            "Each task's queue, by its name.",
            shown="[](#routes)",
        ),
        Setting(
            "task_soft_time_limit", DEFAULT.soft_seconds, "The task is told first, so that it can clean up."
        ),
        Setting(
            "task_time_limit", DEFAULT.hard_seconds, "A task that hangs does not hold its process for ever."
        ),
        Setting(
            "task_annotations",
            (LimitsByQueue({queue.name: (queue.soft_seconds, queue.hard_seconds) for queue in QUEUES}),),
            "The time limits of each queue, where a task has none of its own.",
            shown="[](#queues)",
        ),
        _transport(broker, longest_eta_seconds),
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
        Setting(
            "worker_log_format",
            LINE.format(""),
            "Each line says which request or task it belongs to.",
        ),
        Setting(
            "worker_task_log_format",
            LINE.format(" %(task_name)s[%(task_id)s]:"),
            "Each line of a task does, too.",
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
    Which broker it is for is read from the broker's URL, when Celery first reads its configuration.
    Nothing is connected, and no Django setting is read yet.
    Messages get the priority of their queue, unless who sends them names one.

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
        RabbitMQ manual, "Classic Queues Support Priorities" and "Delivery Acknowledgement Timeout".
    """

    def transport_options(conf: Mapping[str, Any], broker: Broker) -> dict[str, Any]:
        given = {**overrides.get(TRANSPORT, {}), **(conf.get(TRANSPORT) or {})}
        own = dict(_transport(broker, longest_eta_seconds).value)
        if broker == "redis":
            limits = [queue.hard_seconds for queue in QUEUES]
            own_limit = conf.get("task_time_limit") or overrides.get("task_time_limit") or 0
            hard_limit = max(own_limit, *limits)
            least = own["visibility_timeout"] = int(least_timeout(hard_limit, longest_eta_seconds))
            seconds = given.get("visibility_timeout", least)
            if seconds < least:
                raise VisibilityTimeoutError(
                    seconds, hard_limit, longest_eta_seconds, VISIBILITY_MARGIN_SECONDS
                )
        return {**own, **given}

    def apply(source: Any, **_: Any) -> None:
        broker = broker_of(source.broker_url or overrides.get("broker_url"))
        options = transport_options(source, broker)
        if source.get(TRANSPORT):
            source[TRANSPORT] = options
        settings = {setting.name: setting.value for setting in preset(longest_eta_seconds, broker=broker)}
        schedule_beats(source)
        # Celery's own; add_defaults() would beat the project's settings.
        source.defaults[-1].update(settings | overrides | {TRANSPORT: options})

    def check() -> dict[str, Any]:
        transport_options(app.conf, broker_of(app.conf.broker_url or overrides.get("broker_url")))
        beat_entries_of_settings()
        return {}

    if overrides.get(TRANSPORT):
        transport_options({}, "redis" if "visibility_timeout" in overrides[TRANSPORT] else "rabbitmq")
    longest_etas[app] = longest_eta_seconds
    if app.configured:  # type: ignore[attr-defined]  # missing in the stubs
        apply(app.conf)
    else:
        app.add_defaults(check)  # the signal would log an error and go on
        app.on_after_configure.connect(apply, weak=False)
    for module in TASK_MODULES:
        app.autodiscover_tasks(["perfkit.tasks"], related_name=module)
    app.autodiscover_tasks(related_name="jobs")
    connections.install()
    origins.install()
    scopes.install()
    timings.install()
    sending.install(app)


def _transport(broker: Broker, longest_eta_seconds: int) -> Setting:
    if broker == "rabbitmq":
        return Setting(
            TRANSPORT,
            {"confirm_publish": True},
            "A task that is sent is one that the broker says it has.",
        )
    hard_seconds = max(queue.hard_seconds for queue in QUEUES)
    return Setting(
        TRANSPORT,
        {
            "visibility_timeout": int(least_timeout(hard_seconds, longest_eta_seconds)),
            "priority_steps": sorted(queue.priority(broker) for queue in QUEUES),
            "queue_order_strategy": "priority",
            "socket_connect_timeout": 5,
            "socket_timeout": 10,
        },
        "An unacknowledged task is given out again only after hard limit, longest ETA and a margin; "
        "a worker of several queues takes the most urgent task first; and a broker that says nothing is given up.",
    )
