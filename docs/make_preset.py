"""Writes docs/reference/preset.md from the preset of `perfkit.tasks`: each value with its reason.

Run `python docs/make_preset.py` after a change of the preset; a test compares the file with it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs" / "reference" / "preset.md"

INTRODUCTION: Final = """\
# The Celery preset

<!-- Written by docs/make_preset.py from perfkit/tasks/preset.py and queues.py: change it there, then run it. -->

[`configure(app)`](../how-to/tasks.md#configure-celery) gives a Celery app these defaults.
Each can be overridden by an argument, as in `configure(app, result_expires=60)`.
What the project configures itself wins, such as `CELERY_RESULT_EXPIRES = 60` in Django's settings.
Of `broker_transport_options` the keys that you leave out keep their values.
The values are those for tasks that wait an hour at most; `longest_eta_seconds` moves the timeouts.
Brokers other than RabbitMQ get the values for Redis.
"""
QUEUES: Final = """\
## Queues

A worker takes from all of them, or from those of its `-Q`.
Limits are for tasks that have none of their own.
"""
ROUTES: Final = """\
## Routes

The first pattern that fits the name of a task decides; a `queue` where it is sent wins.
The most urgent priority is 0 on Redis and the highest number on RabbitMQ.
"""


def page() -> str:
    """Return the whole page as MyST Markdown."""
    from perfkit.tasks import preset, queues

    on_redis, on_rabbitmq = preset(broker="redis"), preset(broker="rabbitmq")
    arguments = {
        queue.name: queue.queue_arguments
        for queue in queues.declared_queues("rabbitmq", queues.LONGEST_ETA_SECONDS)
    }
    settings = [
        (f"`{one.name}`", shown(one), shown(other), reason(one, other))
        for one, other in zip(on_redis, on_rabbitmq, strict=True)
    ]
    kinds = [
        (
            f"`{each.name}`",
            each.text,
            f"{each.soft_seconds} s",
            f"{each.hard_seconds} s",
            "".join(f"`{name}={value}` " for name, value in arguments[each.name].items()).strip(),
        )
        for each in queues.QUEUES
    ]
    patterns = [
        (
            f"`{pattern}`",
            f"`{queue}`",
            str(queues.priority_of(queue, "redis")),
            str(queues.priority_of(queue, "rabbitmq")),
        )
        for pattern, queue in queues.ROUTES
    ]
    return "\n".join(
        [
            INTRODUCTION,
            table("setting", "on Redis", "on RabbitMQ", "reason", rows=settings),
            QUEUES,
            table("queue", "for", "soft limit", "hard limit", "declared on RabbitMQ with", rows=kinds),
            ROUTES,
            table("pattern", "queue", "priority on Redis", "on RabbitMQ", rows=patterns),
        ]
    )


def table(*titles: str, rows: list[Any]) -> str:
    """Return a table of Markdown."""
    lines = [titles, ["---"] * len(titles), *rows]
    return (
        "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
        .replace("| --- ", "|---")
        .replace("--- |", "---|")
    )


def shown(setting: Any) -> str:
    """Return the value of a setting as its cell has it."""
    if setting.shown:
        return str(setting.shown)
    if isinstance(setting.value, dict):
        return ", ".join(f"`{name}`: `{value!r}`" for name, value in setting.value.items())
    return f"`{setting.value!r}`"


def reason(one: Any, other: Any) -> str:
    """Return why a setting has its values, once where both brokers have the same reason."""
    return str(one.reason) if one.reason == other.reason else f"Redis: {one.reason} RabbitMQ: {other.reason}"


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    PAGE.write_text(page(), encoding="utf-8")
