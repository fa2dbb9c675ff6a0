"""What happens to each task that is sent: its transaction is looked at, and it gets its queue's priority.

Celery swallows what a receiver of `before_task_publish` raises, so the app's `send_task` is where this stands:
every way of sending a task goes through it.
"""

from __future__ import annotations

from typing import Any

from celery import Celery

from perfkit.tasks.queues import broker_of, priority_of
from perfkit.tasks.transactions import look_at


class PriorityRouter:
    """Routes as another router does, and gives a message without a priority that of its queue.

    Not a router among those of `task_routes`, for a project may have routes of its own; and not
    `task_default_priority`, which Celery puts onto each task, where it beats what the routes say.

    Args:
        app: Says which broker it is.
        router: Celery's own, or the one that the sender names.
    """

    def __init__(self, app: Celery, router: Any) -> None:
        self._app = app
        self._router = router

    def route(self, options: dict[str, Any], *args: Any) -> dict[str, Any]:
        """Return the options with which a message is sent; see `celery.app.routes.Router`."""
        # Of a message that is sent by a routing key Celery names another queue.
        key = None if options.get("queue") else options.get("routing_key")
        routed: dict[str, Any] = self._router.route(options, *args)
        if routed.get("priority") is None:
            queue = key or getattr(routed.get("queue"), "name", None)
            routed["priority"] = priority_of(queue, broker_of(self._app.conf.broker_url))
        return routed


def install(app: Celery) -> None:
    """Have `app` send its tasks so; calling it again changes nothing."""

    def send_task(name: str, *args: Any, **options: Any) -> Any:
        # A retry is sent by the task itself, whose transaction is rolled back for it.
        if not options.get("retries"):
            look_at(name)
        router = PriorityRouter(app, options.pop("router", None) or app.amqp.router)
        # Of the class, and looked up now: monitors put theirs there.
        send: Any = type(app).send_task
        return send(app, name, *args, router=router, **options)

    app.send_task = send_task  # type: ignore[method-assign]
