"""Each task is a scope of cached reads: it asks the cache server once for what it depends on."""

from __future__ import annotations

from typing import Any, Final

from celery.signals import task_postrun, task_prerun

from perfkit.caching.scope import TokenScope, begin_scope, end_scope

_before: Final[dict[str, TokenScope | None]] = {}
"""By task: the scope it runs within, where it runs at once inside a request or another task."""


def install() -> None:
    """Have every task of this process be a scope; calling it again changes nothing."""
    task_prerun.connect(_begin, weak=False, dispatch_uid="perfkit.tasks.scopes.begin")
    task_postrun.connect(_end, weak=False, dispatch_uid="perfkit.tasks.scopes.end")


def _begin(*, task_id: str, **_: Any) -> None:
    _before[task_id] = begin_scope()


def _end(*, task_id: str, **_: Any) -> None:
    end_scope(_before.pop(task_id, None))
