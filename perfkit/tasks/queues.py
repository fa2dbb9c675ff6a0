"""The preset's queues: what each is for, its limits, the names routed to it, and its priority on each broker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from kombu import Exchange, Queue

Broker = Literal["redis", "rabbitmq"]
"""How a broker counts: with Redis 0 comes first, with RabbitMQ the highest; others count as Redis does."""

RABBITMQ_SCHEMES: Final = frozenset({"", "amqp", "amqps", "pyamqp", "librabbitmq"})
REDIS_SCHEMES: Final = frozenset({"redis", "rediss", "sentinel", "valkey", "valkeys"})

LOWEST: Final = 9
"""The priority of what is in no hurry, as Redis counts; the highest one, as RabbitMQ does."""

LONGEST_ETA_SECONDS: Final = 3600
VISIBILITY_MARGIN_SECONDS: Final = 300


@dataclass(frozen=True, slots=True)
class TaskQueue:
    """One kind of work; `urgency` is 0 for what comes first."""

    name: str
    urgency: int
    soft_seconds: int
    hard_seconds: int
    text: str

    def priority(self, broker: Broker) -> int:
        """Return the priority of its messages, as the broker counts."""
        return LOWEST - self.urgency if broker == "rabbitmq" else self.urgency


QUEUES: Final = (
    TaskQueue("quick", 0, 25, 30, "Somebody waits for it: invalidation, schedules."),
    TaskQueue("default", 3, 270, 300, "Everything that no route names."),
    TaskQueue("ai", 6, 540, 600, "Calls to model servers: slow, and mostly waiting."),
    TaskQueue("heavy", 9, 1740, 1800, "Reports, imports, warming: long, and in no hurry."),
)
DEFAULT: Final = next(queue for queue in QUEUES if queue.name == "default")

ROUTES: Final = (
    ("perfkit.warm_cache", "heavy"),
    ("perfkit.clean_up", "heavy"),
    ("perfkit.delete_old_rows", "heavy"),
    ("perfkit.advise_indexes", "heavy"),
    ("perfkit.tick", "quick"),
    ("perfkit.send_mail", "default"),
    ("perfkit.invalidate", "quick"),
    ("perfkit.drain_outbox", "quick"),
    ("*.quick.*", "quick"),
    ("*.heavy.*", "heavy"),
    ("*.ai.*", "ai"),
)
"""Patterns of task names and their queues; a `queue=` where the task is sent wins."""


def scheme_of(url: object) -> str:
    """Return the scheme of a broker's URL, of the first where there are several; empty for Celery's default.

    Example:
        >>> scheme_of("redis+socket:///run/redis.sock"), scheme_of(["amqps://a", "amqps://b"]), scheme_of(None)
        ('redis', 'amqps', '')
    """
    first = url[0] if isinstance(url, Sequence) and not isinstance(url, str) and url else url
    return str(first or "").split(";")[0].partition("://")[0].partition("+")[0].lower()


def broker_of(url: object) -> Broker:
    """Return how the broker at a URL counts; Celery's default is RabbitMQ."""
    return "rabbitmq" if scheme_of(url) in RABBITMQ_SCHEMES else "redis"


def priority_of(queue: str | None, broker: Broker) -> int | None:
    """Return the priority of messages to a queue of the preset; None for any other."""
    return next((each.priority(broker) for each in QUEUES if each.name == queue), None)


def least_timeout(hard_seconds: float, longest_eta_seconds: float) -> float:
    """Return after how many seconds, at the least, a broker may give an unacknowledged task to another worker.

    Less than the hard limit plus the longest countdown would run a task twice while it still waits or works.
    """
    return hard_seconds + longest_eta_seconds + VISIBILITY_MARGIN_SECONDS


def declared_queues(broker: Broker, longest_eta_seconds: int) -> tuple[Queue, ...]:
    """Return the queues, each with an exchange of its own; Celery would bind all to the default one alike.

    RabbitMQ has priorities in queues that are declared with them only, and takes back what was not acknowledged
    for half an hour, unless the consumer says otherwise (3.12 to 4.2; before, its own configuration alone does).
    It is not said of the queue: one that is there cannot be declared otherwise, and the limits may change.
    """
    return tuple(
        Queue(
            queue.name,
            Exchange(queue.name),
            routing_key=queue.name,
            **_options(queue, broker, longest_eta_seconds),
        )
        for queue in QUEUES
    )


def declared_routes() -> dict[str, dict[str, str]]:
    """Return each pattern's queue, in the order in which they are tried."""
    return {pattern: {"queue": queue} for pattern, queue in ROUTES}


def _options(queue: TaskQueue, broker: Broker, longest_eta_seconds: int) -> dict[str, Any]:
    if broker != "rabbitmq":
        return {}
    held_seconds = least_timeout(queue.hard_seconds, longest_eta_seconds)
    return {
        "queue_arguments": {"x-max-priority": LOWEST},
        "consumer_arguments": {"x-consumer-timeout": int(held_seconds * 1000)},
    }
