"""Which parts of the overview are not there, and why: what is not installed, is off, or has not happened."""

from __future__ import annotations

from collections.abc import Collection
from importlib.util import find_spec
from typing import NamedTuple

from django.db import connections
from django.utils.translation import gettext as _

from perfkit.caching.control import cached_labels
from perfkit.caching.store import current_store
from perfkit.conf import options
from perfkit.errors import SettingsError
from perfkit.jobs.backends import current_backend
from perfkit.postgres import pool_figures


class Missing(NamedTuple):
    """A part that is not there, and why."""

    part: str
    reason: str


def missing_parts(shown: Collection[str]) -> list[Missing]:
    """Return what is not shown, and why.

    Args:
        shown: Names of the tables that are.
    """
    parts = {
        "reads": (_("Cached reads"), _no_reads),
        "loops": (_("Loops of queries (N+1)"), _no_loops),
        "tasks": (_("Tasks and jobs"), _no_tasks),
        "limits": (_("Rate limits"), _no_limits),
        "pools": (_("Pools of connections"), _no_pools),
    }
    return [Missing(part, reason()) for name, (part, reason) in parts.items() if name not in shown]


def _no_reads() -> str:
    if not options.CACHE_ENABLED:
        return _("Caching is off, by CACHE_ENABLED.")
    try:
        store = current_store()
    except SettingsError as error:
        return str(error)
    if store is None:
        return _("CACHE_ALIAS leads to Django's dummy cache, which keeps nothing.")
    if not cached_labels():
        return _("No model is cached: name some in CACHE_MODELS, or give them a CachedManager.")
    return _("There were none.")


def _no_loops() -> str:
    if options.N_PLUS_ONE_MODE == "off":
        return _("Nobody looks for them: N_PLUS_ONE_MODE is off.")
    return _("None were found.")


def _no_tasks() -> str:
    try:
        current_backend()
    except SettingsError as error:
        return no_sending(error)
    if find_spec("celery") is None:
        return _("No job has run. Celery is not installed, so there are no tasks.")
    return _("None have run.")


def no_sending(error: SettingsError) -> str:
    """Return why no job is sent to a worker, and what to do."""
    if options.JOB_BACKEND == "celery" and find_spec("celery") is None:
        return _(
            "No job can be sent to a worker, for Celery is not installed: run pip install "
            '"django-perfkit[tasks]", or name another JOB_BACKEND.'
        )
    return _("No job can be sent to a worker: %(error)s") % {"error": error}


def _no_limits() -> str:
    if find_spec("ninja") is None:
        return _(
            'django-ninja is not installed, and with it perfkit\'s API: run pip install "django-perfkit[api]".'
        )
    return _("No request was counted against one.")


def _no_pools() -> str:
    if any(pool_figures(alias) is not None for alias in connections):
        return _("None was in use.")
    return _("No database has one.")
