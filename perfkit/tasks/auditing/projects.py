"""Finds the Celery app of the project that is checked, with the tasks that its workers have.

# Note [Which app is audited]
The one that stands in a module of this process; of several the current one of this thread, or Celery's default.
Where none stands anywhere the project has none: to ask Celery for the current one would make it.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Final

from celery import Celery
from celery.app import app_or_default
from django.conf import settings
from django.urls import get_resolver
from django.utils.module_loading import autodiscover_modules

from perfkit.tasks.auditing.audited import Finding
from perfkit.tasks.auditing.rules import findings_of, refusal_of
from perfkit.tasks.preset import TASK_MODULES, longest_etas

BROKER: Final = "CELERY_BROKER_URL"
"""In Django's settings, by the convention of Celery's manual."""


def current_findings(*, deployed: bool = False) -> list[Finding]:
    """Return what is dangerous about the app of this project; nothing where it has none.

    Args:
        deployed: What matters on a site that is deployed alone, and nothing else.
    """
    app = project_app()
    if deployed:
        return findings_of(app, (), deployed=True) if app else []
    if app is None:
        return _without_app()
    if refusal := refusal_of(app):
        return [refusal]
    unfound = _load_tasks(app)
    return [*unfound, *findings_of(app)]


def project_app() -> Celery | None:
    """Return the app of the project; makes none."""
    modules = list(sys.modules.values())
    values = (
        value for module in modules for value in list((getattr(module, "__dict__", None) or {}).values())
    )
    # By their type: Celery's proxies say that they are apps, and would make one.
    apps = {id(value): value for value in values if issubclass(type(value), Celery)}
    if not apps:
        return None
    only = next(iter(apps.values()))
    return only if len(apps) == 1 else apps.get(id(app_or_default()))


def _without_app() -> list[Finding]:
    """Find an app that settings are for, and that this process does not load."""
    if not getattr(settings, BROKER, None):
        return []
    autodiscover_modules("tasks")
    if getattr(settings, "ROOT_URLCONF", None):
        _ = get_resolver().url_patterns  # views may import it
    if project_app() is not None:
        return current_findings()
    return [
        Finding(
            "W617",
            f"{BROKER} is set, and this process has loaded no Celery app: it sends shared tasks to RabbitMQ on "
            "this machine, whatever the settings say.",
            "Import your app where Django starts: from .celery import app, in the __init__.py beside settings.py.",
        )
    ]


def _load_tasks(app: Celery) -> list[Finding]:
    """Import the modules of tasks; not by Celery, which runs Django's checks before it does, and so this."""
    autodiscover_modules("tasks")
    if app in longest_etas:
        autodiscover_modules("jobs")
        for name in TASK_MODULES:
            import_module(f"perfkit.tasks.{name}")
    found = []
    for setting in ("imports", "include"):
        for module in app.conf.get(setting) or ():
            try:
                import_module(module)
            except ModuleNotFoundError as error:
                if error.name != module:
                    raise
                text = f"Celery refuses its configuration: {setting} names {module!r}, which is no module."
                found.append(Finding("E603", text, "Write the dotted name of a module."))
    return found
