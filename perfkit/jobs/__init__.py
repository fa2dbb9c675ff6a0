"""Jobs: slow work leaves the request, has one effect, and can be watched.

`job` and `current_run` are here at once, for jobs are declared while Django loads; what needs the models is loaded
when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from perfkit.jobs.declared import JobFunction, job

if TYPE_CHECKING:
    from perfkit.jobs.control import cancel_job, purge_jobs, replay_job
    from perfkit.jobs.recovery import send_due
    from perfkit.jobs.running import run_job
    from perfkit.jobs.runs import JobRun, current_run
    from perfkit.jobs.status import JobProgress, JobStatus, job_status

__all__ = [
    "JobFunction",
    "JobProgress",
    "JobRun",
    "JobStatus",
    "cancel_job",
    "current_run",
    "job",
    "job_status",
    "purge_jobs",
    "replay_job",
    "run_job",
    "send_due",
]

_MODULES: Final = {
    "JobProgress": "status",
    "JobRun": "runs",
    "JobStatus": "status",
    "cancel_job": "control",
    "current_run": "runs",
    "job_status": "status",
    "purge_jobs": "control",
    "replay_job": "control",
    "run_job": "running",
    "send_due": "recovery",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module 'perfkit.jobs' has no attribute {name!r}")
    return getattr(import_module(f"perfkit.jobs.{module}"), name)
