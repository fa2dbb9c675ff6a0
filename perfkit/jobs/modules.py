"""The modules in which jobs are declared."""

from __future__ import annotations

from importlib import import_module
from typing import Final

from django.utils.module_loading import autodiscover_modules

READY: Final = (
    "perfkit.jobs.indexes",
    "perfkit.jobs.mail",
    "perfkit.jobs.ready",
    "perfkit.monitoring.jobs",
)
"""Those with jobs of perfkit's own."""


def load_jobs() -> None:
    """Import the modules `jobs` of all apps, and perfkit's own jobs."""
    for module in READY:
        import_module(module)
    autodiscover_modules("jobs")
