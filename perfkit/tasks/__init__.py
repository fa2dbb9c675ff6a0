"""Celery: a safe configuration, the progress and status of tasks, and ready tasks.

`configure` is here, because a project calls it before Django is up.
The rest is imported from its module, after that: `perfkit.tasks.status`, `perfkit.tasks.progress`,
and the ready tasks, such as `perfkit.tasks.warming`, which workers import by themselves.
"""

from perfkit.tasks.preset import configure, preset

__all__ = ["configure", "preset"]
