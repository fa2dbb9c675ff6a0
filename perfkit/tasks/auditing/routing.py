"""Rules of routing: tasks that are sent to where no worker looks."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Final

from perfkit.tasks.auditing.audited import Audited, Finding, listed, queue_name
from perfkit.tasks.queues import REDIS_SCHEMES

ORDERS: Final = ("round_robin", "priority", "sorted")
"""What kombu knows as queue_order_strategy; else it imports what is named."""


def unknown_queues(audited: Audited) -> Iterator[Finding]:
    """Find queues that tasks go to, and that are not among the declared ones."""
    declared = set(audited.queues)
    if not declared:
        return  # Celery makes what is missing, and workers take from it
    sent = {queue_name(target.get("queue")) for target in audited.destinations()}
    sent |= {destination["queue"] for task in audited.tasks if (destination := audited.destination(task))}
    sent |= {queue_name((entry.get("options") or {}).get("queue")) for entry in audited.schedules.values()}
    if unknown := sorted(sent - declared - {""}):
        yield Finding(
            "W608",
            f"Tasks are sent to {listed(unknown)}, which task_queues does not have: no worker takes them by "
            "itself.",
            f"Declare it in task_queues, or send them to one of {listed(sorted(declared))}.",
        )


def broken_keys(audited: Audited) -> Iterator[Finding]:
    """Find what kombu cannot make keys, or their order, of."""
    if audited.scheme not in REDIS_SCHEMES:
        return
    separator = audited.transport.get("sep")
    names = {*audited.queues, audited.conf.task_default_queue}
    names |= {queue_name(target.get("queue")) for target in audited.destinations()}
    broken = sorted(name for name in names if separator and separator in name)
    if broken:
        yield Finding(
            "E606",
            f"sep in broker_transport_options is {separator!r}, and names of queues have it: workers take what is "
            f"sent to {listed(broken)} for another queue's, and put it back without end.",
            "Leave sep out, or take one that no name has.",
        )
    order = audited.transport.get("queue_order_strategy", ORDERS[0])
    if order not in ORDERS and not _is_there(order):
        yield Finding(
            "E606",
            f"queue_order_strategy in broker_transport_options is {order!r}, which kombu does not have: no worker "
            "can start, and nothing can be sent.",
            f"Write one of {', '.join(ORDERS)}.",
        )


def unknown_schedules(audited: Audited) -> Iterator[Finding]:
    """Find schedules of tasks that are not there."""
    for name, entry in audited.schedules.items():
        task = str(entry.get("task"))
        if task not in audited.app.tasks and not (_is_there(task) and task in audited.app.tasks):
            yield Finding(
                "W610",
                f"beat_schedule[{name!r}] runs {task!r}, and no imported module has a task of that name.",
                "Name it as its @shared_task(name=…) does, or else as its module and function.",
            )


def _is_there(path: str) -> bool:
    """Import the module before the last part of a dotted name, and tell whether it is there."""
    module = path.replace(":", ".").rpartition(".")[0]
    try:
        return bool(module) and bool(import_module(module))
    except ModuleNotFoundError as error:
        if error.name and f"{module}.".startswith(f"{error.name}."):
            return False
        raise  # it is there, and something that it needs is not
