"""What carries a job to a worker: it is told the id of a row, and need not be reliable."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from functools import lru_cache
from typing import Final
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from perfkit.conf import options
from perfkit.errors import SettingsError
from perfkit.jobs.running import run_job

logger = logging.getLogger("perfkit.jobs")

SHORT: Final = {
    "celery": "perfkit.tasks.jobs.CeleryJobs",
    "django": "perfkit.jobs.django_tasks.DjangoTasks",
    "immediate": "perfkit.jobs.backends.ImmediateJobs",
}


class JobBackend(ABC):
    """Carries ids of jobs to workers.

    Attributes:
        limit_errors: What it raises within a job whose soft limit is over.
    """

    limit_errors: tuple[type[BaseException], ...] = ()

    @abstractmethod
    def send(self, job_id: UUID, *, name: str, queue: str | None) -> None:
        """Have a worker call `run_job` with this id; it may be told several times, or in vain.

        Args:
            queue: Where the job is declared to go; None where the back end decides.

        Raises:
            Anything, where the queue cannot be reached: the job is sent again later.
        """


class ImmediateJobs(JobBackend):
    """Runs a job at once, in the process that enqueues it: for tests and development."""

    def send(self, job_id: UUID, *, name: str, queue: str | None) -> None:
        """Run it; what it raises is in its row, and logged."""
        try:
            run_job(job_id)
        except Exception:
            logger.exception("The job %s has failed", name)


def current_backend() -> JobBackend:
    """Return the back end that `PERFKIT["JOB_BACKEND"]` names.

    Raises:
        SettingsError: It names none.
    """
    return _backend(options.JOB_BACKEND)


@lru_cache(maxsize=8)
def _backend(name: str) -> JobBackend:
    try:
        found = import_string(SHORT.get(name, name))()
    except (ImportError, ImproperlyConfigured, TypeError) as error:
        raise SettingsError("JOB_BACKEND", f"{name!r} cannot be loaded: {error}") from error
    if not isinstance(found, JobBackend):
        raise SettingsError("JOB_BACKEND", f"{name!r} is no perfkit.jobs.backends.JobBackend.")
    return found
