"""Jobs by Django's own tasks: whatever back end `TASKS` names carries the ids. From Django 6.0 on."""

from __future__ import annotations

from uuid import UUID

from django.tasks import DEFAULT_TASK_QUEUE_NAME, task

from perfkit.jobs.backends import JobBackend
from perfkit.jobs.running import run_job


@task
def run(job_id: str) -> str | None:
    """Run a job, if it is there to be run; return what became of it."""
    return run_job(UUID(job_id))


class DjangoTasks(JobBackend):
    """Sends jobs as tasks of Django; a queue that a job declares must be among the `QUEUES` of `TASKS`."""

    def send(self, job_id: UUID, *, name: str, queue: str | None) -> None:
        """Enqueue the task that runs the job."""
        run.using(queue_name=queue or DEFAULT_TASK_QUEUE_NAME).enqueue(str(job_id))
