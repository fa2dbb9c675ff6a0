"""All rules, and what an app's configuration comes to by them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from celery import Celery
from celery.app.routes import prepare
from celery.exceptions import ImproperlyConfigured

from perfkit.errors import VisibilityTimeoutError
from perfkit.tasks.auditing import contents, delivery, limits, names, priorities, routing, surroundings
from perfkit.tasks.auditing.audited import Audited, Finding

RULES: Final[tuple[Callable[[Audited], Iterator[Finding]], ...]] = (
    delivery.short_visibility,
    contents.refused,
    routing.broken_keys,
    delivery.lost_with_the_worker,
    limits.without_limit,
    limits.soft_after_hard,
    contents.pickle,
    delivery.hoarding,
    contents.lasting_results,
    routing.unknown_queues,
    surroundings.no_broker,
    routing.unknown_schedules,
    priorities.idle_priorities,
    surroundings.unguarded_transactions,
    surroundings.unwatched_connections,
    delivery.short_acknowledgement,
    delivery.still_running,
    names.misspelt,
)
DEPLOYED_RULES: Final[tuple[Callable[[Audited], Iterator[Finding]], ...]] = (
    surroundings.eager,
    surroundings.shared_database,
)


def findings_of(app: Celery, tasks: Iterable[Any] | None = None, *, deployed: bool = False) -> list[Finding]:
    """Return what is dangerous about the configuration of an app.

    Args:
        app: Its configuration is read now, and its tasks are bound, as when the first one is sent.
        tasks: Those to look at; by default all that this process has imported, but Celery's own.
        deployed: What matters on a site that is deployed alone, and nothing else.
    """
    if refusal := refusal_of(app):
        return [] if deployed else [refusal]
    audited = Audited(app, own_tasks(app) if tasks is None else list(tasks))
    if texts := list(names.texts(audited)):
        return [] if deployed else texts  # nothing can be compared with these
    return [finding for rule in (DEPLOYED_RULES if deployed else RULES) for finding in rule(audited)]


def refusal_of(app: Celery) -> Finding | None:
    """Return why the configuration cannot be read; None where it can be."""
    try:
        routes = app.conf.task_routes  # Celery reads all of the configuration now
    except VisibilityTimeoutError as error:
        return Finding("E601", str(error), "Leave visibility_timeout out: perfkit.tasks.configure sets it.")
    except (ImproperlyConfigured, ImportError, TypeError) as error:
        hint = "Mend the setting that it names; a number from the environment is a text until int(…) has read it."
        return Finding("E603", f"Celery refuses its configuration: {error}.", hint)
    try:
        prepare(routes)
    except (TypeError, ValueError) as error:
        text = f"Celery refuses its configuration: task_routes is {routes!r}, which it cannot read: {error}."
        return Finding("E603", text, "Write a dictionary of names and queues, or a list of such.")
    return None


def own_tasks(app: Celery) -> list[Any]:
    """Return the tasks of the project and of perfkit, by name; none of an app that is not to be bound yet."""
    if not (app.finalized or app.autofinalize):  # type: ignore[attr-defined]  # missing in the stubs
        return []
    return [task for name, task in sorted(app.tasks.items()) if not name.startswith("celery.")]
