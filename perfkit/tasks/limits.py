"""Time limits of tasks by the queue they run in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

QUEUE: Final = "perfkit_queue"
"""The attribute of a task that is sent to a queue of its own, whatever the routes say; Celery gives up its one."""


class LimitsByQueue:
    """A Celery annotation: gives a task the time limits of the queue that its name leads to.

    A task with limits of its own keeps them.
    Celery has put the general limits onto the others by then, so equal ones count as none.

    Args:
        limits: Soft and hard limit in seconds, by queue name.

    Source:
        Celery manual, "Configuration and defaults: task_annotations".
    """

    def __init__(self, limits: Mapping[str, tuple[int, int]]) -> None:
        self.limits = limits

    def annotate(self, task: Any) -> dict[str, Any] | None:
        """Return the attributes that Celery puts onto `task`; None where it keeps its own."""
        conf = task.app.conf
        if (task.soft_time_limit, task.time_limit) != (conf.task_soft_time_limit, conf.task_time_limit):
            return None
        own = getattr(task, QUEUE, None)
        route = task.app.amqp.router.route({"queue": own} if own else {}, task.name)
        name = route["queue"].name
        if name not in self.limits:
            return None
        soft_seconds, hard_seconds = self.limits[name]
        return {"soft_time_limit": soft_seconds, "time_limit": hard_seconds}
