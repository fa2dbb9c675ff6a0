"""Rules of priorities: those that have no effect, or another one than is meant.

# Note [How brokers order messages]
Redis has none: kombu keeps a list for each queue and step of `priority_steps`, and looks into those of the lowest
number first. A message without a priority counts as 0, so it comes first.
RabbitMQ takes the highest number first, in queues that are declared with `x-max-priority`; others ignore it.
Celery gives each task `task_default_priority` as its own, and a task's own beats that of its route.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator, Mapping
from typing import Any, Final

from perfkit.tasks.auditing.audited import Audited, Finding, listed, queue_name
from perfkit.tasks.queues import RABBITMQ_SCHEMES, REDIS_SCHEMES

STEPS: Final = (0, 3, 6, 9)
"""Of kombu, where nothing is said."""

WITHOUT: Final = frozenset({"confluentkafka", "filesystem", "gcpubsub", "slmq", "sqla", "sqlalchemy", "sqs"})
"""Brokers of which kombu says that they have no priorities; the one within a process is for tests."""


def idle_priorities(audited: Audited) -> Iterator[Finding]:
    """Find the first reason, as the others mostly follow from it."""
    used = _used(audited)
    found = _beaten(audited)
    if found is None and audited.scheme in REDIS_SCHEMES:
        found = _on_redis(audited, used)
    elif found is None and audited.scheme in RABBITMQ_SCHEMES:
        found = _on_rabbitmq(audited, used)
    elif used and audited.scheme in WITHOUT and not audited.is_configured_by_perfkit:
        found = Finding(
            "W611",
            f"Tasks have priorities, and the broker ({audited.scheme}) has none.",
            "Give urgent tasks a queue, and workers, of their own.",
        )
    if found:
        yield found


def _beaten(audited: Audited) -> Finding | None:
    default = audited.conf.task_default_priority
    routed = {target.get("priority") for target in audited.destinations()} - {None, default}
    if default is None or not routed:
        return None
    return Finding(
        "W611",
        f"task_default_priority is {default}, and beats the priorities of task_routes: each task is sent with it.",
        'Leave it out, and give {"*": {"priority": …}} as the last route.',
    )


def _used(audited: Audited) -> list[tuple[str, int]]:
    """Return queue and priority wherever one is given."""
    conf = audited.conf
    given: list[Mapping[str, Any]] = [found for task in audited.tasks if (found := audited.destination(task))]
    given += [*audited.destinations(), {"priority": conf.task_default_priority}]
    return [
        (queue_name(each.get("queue")) or conf.task_default_queue, each["priority"])
        for each in given
        if each.get("priority") is not None
    ]


def _on_redis(audited: Audited, used: list[tuple[str, int]]) -> Finding | None:
    steps = list(audited.transport.get("priority_steps", STEPS))
    if steps != sorted(steps) or steps[:1] != [0]:
        return Finding(
            "W611",
            f"priority_steps in broker_transport_options is {steps}: kombu needs them in ascending order and from "
            "0 on, else it takes one priority for another.",
            "Write the priorities that you use, sorted, with 0 as the first, which is the most urgent.",
        )
    declared = [name for name, arguments in audited.queues.items() if "x-max-priority" in arguments]
    if used and (declared or audited.conf.task_queue_max_priority):
        return Finding(
            "W611",
            f"Priorities are declared as for RabbitMQ, by "
            f"{f'x-max-priority of {listed(declared)}' if declared else 'task_queue_max_priority'}: there the "
            "highest number comes first, but on Redis 0 does, so they are turned round.",
            "Leave the declaration out, and give the most urgent tasks 0.",
        )
    values = sorted({priority for _, priority in used})
    by_step: dict[int, list[int]] = {}
    for value in values:
        by_step.setdefault(steps[bisect(steps, value) - 1], []).append(value)
    if same := next((each for each in by_step.values() if len(each) > 1), None):
        return Finding(
            "W611",
            f"The priorities {', '.join(map(str, same))} are one and the same, as priority_steps in "
            f"broker_transport_options is {steps}.",
            f'Write broker_transport_options = {{"priority_steps": {sorted({0, *values})}}}.',
        )
    destinations = {task.name: audited.destination(task) for task in audited.tasks}
    unsaid = [name for name, found in destinations.items() if found and found.get("priority") is None]
    if 0 in values and unsaid:
        return Finding(
            "W611",
            f"task_default_priority is None, so {listed(unsaid)} count as priority 0, which comes first on Redis: "
            "what was given 0 is no more urgent than that.",
            "Give what has no priority a less urgent one.",
        )
    return None


def _on_rabbitmq(audited: Audited, used: list[tuple[str, int]]) -> Finding | None:
    conf = audited.conf
    if conf.task_queue_max_priority or conf.get("task_default_queue_type") == "quorum":
        return None  # quorum queues have two priorities by themselves
    arguments = {queue: audited.queues.get(queue, {}) for queue, priority in used if priority}
    lacking = sorted(
        queue
        for queue, given in arguments.items()
        if "x-max-priority" not in given and given.get("x-queue-type") != "quorum"
    )
    if not lacking:
        return None
    return Finding(
        "W611",
        f"Tasks with priorities go to {listed(lacking)}, without x-max-priority, and task_queue_max_priority is "
        "None: RabbitMQ ignores priorities there.",
        "Write task_queue_max_priority = 9, and delete the queues once, for RabbitMQ changes none that is there.",
    )
