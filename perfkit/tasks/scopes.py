"""Each task is a scope of cached reads, a map of instances, a watch of the N+1 guard, and measured as a whole.

It asks the cache server once for what it depends on, `get_or_load` returns one instance of each row in it,
and loops of queries in it are looked for by `PERFKIT["N_PLUS_ONE_MODE"]`.
At its end the store is told what its reads came to.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, Final
from weakref import WeakKeyDictionary

from celery.app.task import Context
from celery.signals import task_postrun, task_prerun, worker_process_shutdown

_open: Final[WeakKeyDictionary[Context, ExitStack]] = WeakKeyDictionary()
"""By run: what ends with it. One that is tried again has the id of the run before, and that may go on yet."""


def install() -> None:
    """Have every task of this process be a scope; calling it again changes nothing."""
    task_prerun.connect(_begin, weak=False, dispatch_uid="perfkit.tasks.scopes.begin")
    task_postrun.connect(_end, weak=False, dispatch_uid="perfkit.tasks.scopes.end")
    worker_process_shutdown.connect(_leave, weak=False, dispatch_uid="perfkit.tasks.scopes.leave")


def _begin(*, task: Any, **_: Any) -> None:
    # A project calls `configure` before Django is up; now it is.
    from perfkit.caching import token_scope
    from perfkit.loading import identity_map, watch_n_plus_one
    from perfkit.monitoring.installing import begin
    from perfkit.monitoring.work import measured

    begin()
    stack = _open[task.request] = ExitStack()
    for scope in (token_scope, identity_map, watch_n_plus_one):
        stack.enter_context(scope())
    stack.enter_context(measured(task.name))


def _end(*, task: Any, **_: Any) -> None:
    from perfkit.caching.counting import work_ended

    stack = _open.pop(task.request, None)
    if stack is not None:
        stack.close()
        work_ended()


def _leave(**_: Any) -> None:
    """Tell what was counted: a child of a worker ends without Python's own end of a process."""
    from perfkit.caching.counting import counting
    from perfkit.monitoring.recording import recorder

    counting.tell()
    recorder.end()
