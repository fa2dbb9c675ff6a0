"""What is dangerous about a Celery configuration, whoever made it; `manage.py check --tag perfkit` tells it.

# Note [Which app is audited]
The one that is current in this thread, else the only one there is, else none: a project without Celery has nothing
to be told. What Celery itself calls to load tasks runs Django's checks, and so this one again, so the modules of
tasks are imported here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any, Final, NamedTuple

import celery
from celery import Celery
from celery.exceptions import ImproperlyConfigured
from django.conf import settings
from django.utils.module_loading import autodiscover_modules

from perfkit.errors import VisibilityTimeoutError
from perfkit.tasks.preset import TRANSPORT, longest_etas
from perfkit.tasks.queues import REDIS_SCHEMES, least_timeout, scheme_of

KOMBU_VISIBILITY_SECONDS: Final = 3600
"""What kombu takes for Redis where nothing is said."""

FALLBACK: Final = "default"
"""The name of the app that Celery makes where nobody has made one."""

PICKLE: Final = frozenset({"pickle", "application/x-python-serialize"})


class Finding(NamedTuple):
    """What is dangerous, under its id without the prefix, and the way out."""

    id: str
    message: str
    hint: str


def current_findings(*, deployed: bool = False) -> list[Finding]:
    """Return what is dangerous about the app of this project; nothing where it has none.

    Args:
        deployed: What matters on a site that is deployed alone, and nothing else.
    """
    app = _app_of_project()
    if app is None:
        return []
    if deployed:
        return list(_eager(app))
    autodiscover_modules("tasks", "jobs")
    for module in ("warming", "jobs"):
        import_module(f"perfkit.tasks.{module}")
    return findings_of(app)


def findings_of(app: Celery) -> list[Finding]:
    """Return what is dangerous about the configuration of an app, and about its tasks that are imported."""
    try:
        app.conf.broker_url  # noqa: B018  # Celery reads the configuration now
    except VisibilityTimeoutError as error:
        return [Finding("E601", str(error), "Leave visibility_timeout out: perfkit.tasks.configure sets it.")]
    except ImproperlyConfigured as error:
        return [
            Finding("E603", f"Celery refuses its configuration: {error}", "Mend the setting that it names.")
        ]
    return [finding for rule in _RULES for finding in rule(app)]


def _app_of_project() -> Celery | None:
    state: Any = celery._state  # there is no public name that makes no app
    current: Celery | None = state._tls.current_app or state.default_app
    if current is None:
        made = [app for app in state._get_active_apps() if app.main != FALLBACK]
        current = made[0] if len(made) == 1 else None
    return None if current is None or current.main == FALLBACK else current


def _own_tasks(app: Celery) -> list[Any]:
    """Return the tasks of the project and of perfkit, by name."""
    return [task for name, task in sorted(app.tasks.items()) if not name.startswith("celery.")]


def _short_visibility(app: Celery) -> Iterator[Finding]:
    if scheme_of(app.conf.broker_url) not in REDIS_SCHEMES:
        return
    limits = [app.conf.task_time_limit, *(task.time_limit for task in _own_tasks(app))]
    hard_limit = max((limit for limit in limits if limit), default=0)
    given = (app.conf.get(TRANSPORT) or {}).get("visibility_timeout", KOMBU_VISIBILITY_SECONDS)
    eta = longest_etas.get(app, 0)
    least = int(least_timeout(hard_limit, eta))
    if given < least:
        yield Finding(
            "E601",
            f"The broker gives a task to another worker after {given} seconds, while the first may still run it: "
            f"the longest hard limit is {hard_limit} s, the longest countdown {eta} s.",
            f'Write broker_transport_options = {{"visibility_timeout": {least}}}, or more.',
        )


def _acknowledged_when_lost(app: Celery) -> Iterator[Finding]:
    late = [task.name for task in _own_tasks(app) if task.acks_late and not task.reject_on_worker_lost]
    if app.conf.task_acks_late and not app.conf.task_reject_on_worker_lost:
        names = "tasks"
    elif late:
        names = _listed(late)
    else:
        return
    yield Finding(
        "W601",
        f"With acks_late and without reject_on_worker_lost, {names} are lost with a worker that is killed.",
        "Write task_reject_on_worker_lost = True.",
    )


def _without_limit(app: Celery) -> Iterator[Finding]:
    endless = [task.name for task in _own_tasks(app) if not (task.time_limit or app.conf.task_time_limit)]
    if not app.conf.task_time_limit and (endless or not _own_tasks(app)):
        yield Finding(
            "W602",
            f"Nothing ends {_listed(endless) or 'a task'} that hangs, and so holds a worker for ever.",
            "Write task_time_limit = 300 and task_soft_time_limit = 270, or what your longest task needs.",
        )


def _soft_after_hard(app: Celery) -> Iterator[Finding]:
    wrong = [
        task.name
        for task in _own_tasks(app)
        if (soft := task.soft_time_limit or app.conf.task_soft_time_limit)
        and (hard := task.time_limit or app.conf.task_time_limit)
        and soft >= hard
    ]
    soft, hard = app.conf.task_soft_time_limit, app.conf.task_time_limit
    if wrong or (soft and hard and soft >= hard):
        yield Finding(
            "W603",
            f"The soft time limit of {_listed(wrong) or 'tasks'} is not below the hard one: nobody hears of it.",
            "Write a task_soft_time_limit some seconds below task_time_limit.",
        )


def _pickle(app: Celery) -> Iterator[Finding]:
    names = ("accept_content", "result_accept_content")
    accepted = [name for name in names if PICKLE.intersection(app.conf.get(name) or ())]
    if accepted:
        yield Finding(
            "W604",
            f"{' and '.join(accepted)} take pickle: who can write to the broker can run code in your workers.",
            'Write accept_content = ["json"] and task_serializer = "json".',
        )


def _hoarding(app: Celery) -> Iterator[Finding]:
    most = app.conf.worker_prefetch_multiplier
    if app.conf.task_acks_late and most != 1:
        kept = "all that wait" if most == 0 else f"{most} for each of its processes"
        yield Finding(
            "W605",
            f"A worker takes {kept} behind a long task, while another one is idle.",
            "Write worker_prefetch_multiplier = 1, as late acknowledgement is meant to be used with.",
        )


def _lasting_results(app: Celery) -> Iterator[Finding]:
    if app.conf.result_backend and not app.conf.result_expires and not app.conf.task_ignore_result:
        yield Finding(
            "W606",
            "Results of tasks are kept for ever.",
            "Write result_expires = 3600, or task_ignore_result = True where nobody reads them.",
        )


def _eager(app: Celery) -> Iterator[Finding]:
    if app.conf.task_always_eager and not settings.DEBUG:
        yield Finding(
            "W607",
            "Tasks run within the request that sends them, for task_always_eager is on while DEBUG is off.",
            "Leave task_always_eager to the settings of your tests.",
        )


def _unknown_queues(app: Celery) -> Iterator[Finding]:
    declared = {queue if isinstance(queue, str) else queue.name for queue in app.conf.task_queues or ()}
    if not declared:
        return  # Celery makes what is missing
    routed = {name for name in map(_queue_of, _routes(app)) if name}
    unknown = sorted((routed | {app.conf.task_default_queue}) - declared)
    if unknown:
        yield Finding(
            "W608",
            f"Tasks are sent to {_listed(unknown)}, which is not among task_queues: no worker takes it by itself.",
            f"Declare it in task_queues, or send them to one of {', '.join(sorted(declared))}.",
        )


def _no_broker(app: Celery) -> Iterator[Finding]:
    if not app.conf.broker_url and not app.conf.broker_write_url and not app.conf.task_always_eager:
        yield Finding(
            "W609",
            "No broker is named, so Celery looks for RabbitMQ on this machine, as its user guest.",
            'Write broker_url = "redis://…" or "amqp://…".',
        )


def _unknown_schedules(app: Celery) -> Iterator[Finding]:
    for name, entry in sorted((app.conf.beat_schedule or {}).items()):
        task = entry.get("task") if isinstance(entry, Mapping) else None
        if task not in app.tasks:
            yield Finding(
                "W610",
                f"The schedule {name!r} runs {task!r}, and no imported module has a task of that name.",
                "Name it as its @shared_task(name=…) or its module and function do, in a module called tasks.",
            )


def _routes(app: Celery) -> Iterator[Any]:
    routes = app.conf.task_routes or ()
    for each in routes if isinstance(routes, list | tuple) else (routes,):
        if isinstance(each, Mapping):
            yield from each.values()
        elif isinstance(each, list | tuple):
            yield each[1] if len(each) == 2 and isinstance(each[0], str) else dict(each)  # noqa: PLR2004


def _queue_of(route: Any) -> str:
    if isinstance(route, str):
        return route
    queue = route.get("queue") if isinstance(route, Mapping) else None
    return str(getattr(queue, "name", queue) or "")


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (" and others" if len(names) > 5 else "")  # noqa: PLR2004


_RULES: Final[tuple[Callable[[Celery], Iterator[Finding]], ...]] = (
    _short_visibility,
    _acknowledged_when_lost,
    _without_limit,
    _soft_after_hard,
    _pickle,
    _hoarding,
    _lasting_results,
    _unknown_queues,
    _no_broker,
    _unknown_schedules,
)
