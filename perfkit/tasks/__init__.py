"""Celery: a safe configuration, jobs and schedules by its workers and beats, the progress and status of tasks.

`configure` is here, because a project calls it before Django is up.
`report_progress` and `read_status` load what they need when they are first asked for, after that.
Workers import the tasks that carry jobs and ask schedules by themselves.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from perfkit.tasks.preset import configure, preset

if TYPE_CHECKING:
    from perfkit.tasks.progress import report_progress
    from perfkit.tasks.status import read_status

__all__ = ["configure", "preset", "read_status", "report_progress"]

_MODULES: Final = {"read_status": "perfkit.tasks.status", "report_progress": "perfkit.tasks.progress"}


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module 'perfkit.tasks' has no attribute {name!r}")
    return getattr(import_module(module), name)
