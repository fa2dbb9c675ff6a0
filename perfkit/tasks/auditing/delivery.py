"""Rules of delivery: which settings have a task run twice, or not at all."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

from perfkit.tasks.auditing.audited import Audited, Finding, listed
from perfkit.tasks.queues import RABBITMQ_SCHEMES, REDIS_SCHEMES, least_timeout

VISIBILITY_SECONDS: Final = {**dict.fromkeys(REDIS_SCHEMES, 3600), "sqs": 1800}
"""After how long a broker gives out again what was not acknowledged, where nothing is said, as kombu has it."""

ACKNOWLEDGEMENT_SECONDS: Final = 1800
"""The same of RabbitMQ since 3.8.17, which ends the worker's channel then."""


def short_visibility(audited: Audited) -> Iterator[Finding]:
    """Find a broker that gives a task out again while it may still wait or run."""
    default = VISIBILITY_SECONDS.get(audited.scheme)
    if default is None or audited.transport.get("predefined_queues"):  # those have theirs at Amazon
        return
    conf = audited.conf
    hard_limit = max([conf.task_time_limit or 0, *map(audited.hard_limit, audited.tasks)])
    eta = audited.longest_eta
    least = math.ceil(least_timeout(hard_limit, eta))
    given = audited.transport.get("visibility_timeout", default)
    if given < least:
        source = "" if "visibility_timeout" in audited.transport else ", the default"
        yield Finding(
            "E601",
            f"visibility_timeout in broker_transport_options is {given} s{source}: then the broker gives a task "
            f"to another worker, while the first may still run it. The longest hard limit is {hard_limit:g} s, "
            f"the longest countdown {eta:g} s.",
            f'Write broker_transport_options = {{"visibility_timeout": {least}}}, or more.',
        )


def lost_with_the_worker(audited: Audited) -> Iterator[Finding]:
    """Find late acknowledgement that does not keep what it is for."""
    conf = audited.conf
    if not audited.forks:
        return  # the whole worker dies, and what it has not acknowledged is given out again
    lost = [task.name for task in audited.late if not _comes_back(task)]
    if not audited.tasks and conf.task_acks_late:
        comes_back = conf.task_reject_on_worker_lost or conf.get("task_retry_on_worker_lost")
        lost = [] if comes_back else ["each task"]
    if lost:
        yield Finding(
            "W601",
            f"acks_late is True and reject_on_worker_lost is {conf.task_reject_on_worker_lost}: a task whose "
            f"process is killed is acknowledged all the same, and lost. That is so of {listed(lost)}.",
            "Write task_reject_on_worker_lost = True, for tasks that bear to run twice; else leave acks_late out.",
        )


def hoarding(audited: Audited) -> Iterator[Finding]:
    """Find workers that take what others could run."""
    conf = audited.conf
    most = conf.worker_prefetch_multiplier
    if conf.get("worker_disable_prefetch") or most == 1 or (most and not conf.task_acks_late):
        return
    takes = f"{most} tasks for each of its processes" if most else "all tasks that wait"
    yield Finding(
        "W605",
        f"worker_prefetch_multiplier is {most}: a worker takes {takes}, and they wait behind a long one while "
        "another worker is idle.",
        "Write worker_prefetch_multiplier = 1.",
    )


def short_acknowledgement(audited: Audited) -> Iterator[Finding]:
    """Find the same as `short_visibility` of RabbitMQ, whose own configuration is not seen."""
    if audited.scheme not in RABBITMQ_SCHEMES:
        return
    for task in audited.tasks:
        held, given = _held_seconds(audited, task), _acknowledgement_seconds(audited, task)
        if held > given:
            yield Finding(
                "W613",
                f"RabbitMQ gives a task to another worker after {given:g} s without acknowledgement, and a worker "
                f"may hold {task.name} for {held:g} s.",
                f'Declare its queue with consumer_arguments={{"x-consumer-timeout": {math.ceil(held) * 1000}}}, '
                "or more; silence this where RabbitMQ's own configuration has a longer consumer_timeout.",
            )
            return


def still_running(audited: Audited) -> Iterator[Finding]:
    """Find that a lost connection has a task run twice at once."""
    name = "worker_cancel_long_running_tasks_on_connection_loss"
    conf = audited.conf
    is_late = audited.late if audited.tasks else conf.task_acks_late
    if is_late and audited.forks and not conf.get(name):
        which = listed(task.name for task in audited.late) or "each task"
        yield Finding(
            "W614",
            f"{name} is {conf.get(name)}, and acks_late True: where a worker loses its connection, the broker "
            f"gives its tasks to another one, while the first run goes on. That is so of {which}.",
            f"Write {name} = True.",
        )


def _comes_back(task: Any) -> bool:
    return bool(task.reject_on_worker_lost or getattr(task, "retry_on_worker_lost", False))


def _held_seconds(audited: Audited, task: Any) -> float:
    """Return for how long a worker may have a task that it has not acknowledged."""
    return audited.longest_eta + (audited.hard_limit(task) if task.acks_late else 0)


def _acknowledgement_seconds(audited: Audited, task: Any) -> float:
    destination = audited.destination(task)
    if destination is None:
        return math.inf  # code says where it goes
    arguments = audited.queues.get(destination["queue"], {})
    milliseconds = arguments.get("x-consumer-timeout", ACKNOWLEDGEMENT_SECONDS * 1000)
    return float(milliseconds) / 1000
